"""The witness: a clone of a zygote that says whom things belong to, and ends.

It is run like any program (`zygotectl run`), so asking costs the fleet nothing: what it walks, it
walks in its own copy of the floor, where the objects lie at the addresses that they have in every
worker. stdin is a JSON list of addresses (of objects without a name of their own, and of blocks
that are no objects), stdout gets {address: [type, module, name]} of those that it found.

A thing is named by its shortest way up to something that has a name: a module, a class, a function
or code. All holders of all things asked for are found in one pass over the collector's objects;
holders without a name are the next pass's question. A block that is no object (the keys of a dict,
the items of a list) belongs to the object in whose body its address stands.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import types
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from zygote.inspect.holdings import (
    holds_dead_objects,
    module_of,
    of_code,
    owners_of_dicts,
    type_name,
    words,
)

_PASSES = 6
_CODE_PASSES = 2
_BATCH = 12
_FROZEN = 10_000
"""More objects than Python 3.12 has frozen from the start."""
_MANAGED = 3 << 3
"""Bits of tp_flags: two words before the collector's head are a dict's and weak references'."""
_DESCRIPTORS = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)

Named = tuple[str, str, str]
"""Type, module, name."""


class Census:
    """All objects of this process, and the names of those that have one."""

    def __init__(self) -> None:
        gc.disable()
        # What a floor holds is frozen; what is not is of this process's own making.
        self.ours = set(map(id, gc.get_objects())) if gc.get_freeze_count() > _FROZEN else set()
        gc.unfreeze()  # the collector's lists show only what is not frozen
        self.objects = [
            thing
            for thing in gc.get_objects()
            if id(thing) not in self.ours and not holds_dead_objects(thing)
        ]
        self.ours.update((id(self.objects), id(self.__dict__), id(self)))
        self.dicts = dict(owners_of_dicts(self.objects))
        self._code = [
            (thing, list(of_code(thing.__code__)))
            for thing in self.objects
            if type(thing) is FunctionType
        ]
        self.ours.update((id(self.dicts), id(self._code)))
        self._add_untracked()

    def _add_untracked(self) -> None:
        """Add the dicts and tuples that the collector does not track: they hold nothing of its."""
        of_code = (thing for _, held in self._code for thing in held)
        found = {id(thing): thing for thing in of_code if type(thing) is tuple}
        more = [*self.objects, *found.values()]
        while more:
            held = {
                id(thing): thing
                for at in range(0, len(more), _BATCH)
                for thing in gc.get_referents(*more[at : at + _BATCH])
                if type(thing) in (tuple, dict) and not gc.is_tracked(thing)
            }
            more = [held[at] for at in held.keys() - found.keys()]
            found.update(held)
        self.objects += found.values()

    def name(self, thing: Any) -> tuple[str, str] | None:
        """Module and name of what has them; of a dict that is somebody's, its owner's."""
        kind = type(thing)
        if kind is FunctionType:
            return str(thing.__module__ or ""), thing.__qualname__
        if kind is ModuleType:
            return module_of(thing.__dict__), ""
        if kind is CodeType:
            return thing.co_filename, thing.co_qualname
        if kind is dict:
            return self.dicts.get(id(thing))
        if issubclass(kind, type):
            return type_name(thing)
        if kind in _DESCRIPTORS:
            module, name = type_name(thing.__objclass__)
            return module, f"{name}.{thing.__name__}"
        if kind is types.BuiltinFunctionType:
            return str(thing.__module__ or ""), thing.__qualname__
        if kind.__name__ == "_lru_cache_wrapper":
            return str(thing.__module__), str(thing.__qualname__)
        return None

    def find(self, wanted: Iterable[int]) -> dict[int, Named]:
        """Names of the things at these addresses; those that nobody named holds are left out."""
        wanted = set(wanted)
        self.ours.add(id(wanted))
        found: dict[int, Named] = {}
        blocks = wanted - self._objects_among(wanted)
        self.ours.add(id(blocks))
        holders = self._holders_of_blocks(blocks)
        names = self._climb((wanted - blocks) | {id(holder) for holder, _ in holders.values()})
        for address in wanted - blocks:
            if address in names:
                found[address] = ("", *names[address])
        for block, (holder, part) in holders.items():
            named = names.get(id(holder)) or self.name(holder)
            kind = type(holder)
            module, name = named or (kind.__module__.removeprefix("builtins"), "")
            found[block] = (f"{part} of {kind.__qualname__}", module, name)
        return found

    def _objects_among(self, wanted: set[int]) -> set[int]:
        """Those addresses at which an object that somebody holds begins."""
        found = wanted.intersection(map(id, self.objects))
        for batch in self._batches():
            found.update(wanted.intersection(map(id, gc.get_referents(*batch))))
        for _, held in self._code:
            found.update(wanted.intersection(map(id, held)))
        return found

    def _batches(self) -> Iterator[list[Any]]:
        return (self.objects[at : at + _BATCH] for at in range(0, len(self.objects), _BATCH))

    def _holders(self, todo: set[int], with_code: bool) -> Iterator[tuple[Any, list[Any]]]:
        """Each object that holds something of `todo`, and what it holds."""
        for batch in self._batches():
            if not todo.isdisjoint(map(id, gc.get_referents(*batch))):
                for thing in batch:
                    held = gc.get_referents(thing)
                    if not todo.isdisjoint(map(id, held)) and id(thing) not in self.ours:
                        yield thing, held
        if with_code:
            for function, held in self._code:
                if not todo.isdisjoint(map(id, held)):
                    yield function, held

    def _climb(self, wanted: set[int]) -> dict[int, tuple[str, str]]:
        """Module and name of the things at these addresses, by the shortest way up."""
        names: dict[int, tuple[str, str]] = {}
        parents: dict[int, Any] = {}
        asked: set[int] = set()
        for thing in self.objects:
            if id(thing) in wanted and (named := self.name(thing)):
                names[id(thing)] = named
        todo = wanted - names.keys()
        for number in range(_PASSES):
            if not todo:
                break
            asked |= todo
            self.ours.update(map(id, (names, parents, asked, todo)))
            for thing, held in self._holders(todo, number < _CODE_PASSES):
                named = self.name(thing) or names.get(id(thing))
                for each in held:
                    at = id(each)
                    if at not in todo or at in names:
                        continue
                    if named:
                        names[at] = (named[0], _longer(named[1], thing, each))
                    elif at not in parents or _rank(thing) < _rank(parents[at]):
                        parents[at] = thing
            todo = {id(parents[at]) for at in todo if at not in names and at in parents} - asked
        for at in wanted - names.keys():
            if named := _up(at, parents, names):
                names[at] = named
        return names

    def _holders_of_blocks(self, blocks: set[int]) -> dict[int, tuple[Any, str]]:
        """The object in whose body each address stands, and what part of it that is."""
        found: dict[int, tuple[Any, str]] = {}
        if not blocks:
            return found
        self.ours.add(id(found))
        for thing in self.objects:
            if id(thing) in self.ours:
                continue
            begin = id(thing) >> 3
            kind = type(thing)
            # Of those with items only tuples: their number is known without running code.
            size = kind.__basicsize__ + (len(thing) * 8 if kind is tuple else 0)
            body = words[begin : begin + size // 8]
            if not blocks.isdisjoint(body):
                for offset, word in enumerate(body):
                    if word in blocks and word not in found:
                        found[word] = (thing, _part(thing, offset * 8))
            if kind.__flags__ & _MANAGED:  # a dict or its values, perhaps marked in the low bit
                for word in words[begin - 4 : begin - 2]:
                    if word & ~7 in blocks and word & ~7 not in found:
                        found[word & ~7] = (thing, "values")
        return found


def main() -> int:
    """Answer one question."""
    json.dump(Census().find(json.load(sys.stdin)), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # nothing of this copy of the floor needs tidying up


def _longer(name: str, holder: Any, held: Any) -> str:
    """The name of what a named thing holds: by its key in a dict."""
    if type(holder) is dict:
        for key, value in holder.items():
            if value is held and type(key) is str:
                return f"{name}.{key}" if name else key
    return name


def _up(
    at: int, parents: dict[int, Any], names: dict[int, tuple[str, str]]
) -> tuple[str, str] | None:
    """The name of the first holder that has one; else that of the first class on the way."""
    of_class = None
    for _ in range(_PASSES):
        if at in names or at not in parents:
            break
        kind = type(parents[at])
        if of_class is None and kind.__module__ != "builtins":
            of_class = type_name(kind)
        at = id(parents[at])
    return names.get(at) or of_class


def _rank(thing: Any) -> int:
    """Of two holders without a name the better one: an object of a class says more than a list."""
    return 1 if type(thing) in (dict, list, tuple, set, frozenset) else 0


def _part(thing: Any, offset: int) -> str:
    """What a block is whose address stands at this offset of an object."""
    if issubclass(type(thing), dict):
        return "keys" if offset == 32 else "values"
    if type(thing) is list:
        return "items"
    if type(thing) in (set, frozenset):
        return "table"
    return "instance keys" if offset > 800 and issubclass(type(thing), type) else "part"


if __name__ == "__main__":
    sys.exit(main())
