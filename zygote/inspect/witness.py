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

import ctypes
import gc
import json
import os
import sys
import types
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

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
_PROXY_MAPPING = 16

Named = tuple[str, str, str]
"""Type, module, name."""

_words: Any = (ctypes.c_uint64 * (1 << 44)).from_address(0)
"""All words of the address space; only read where an object of ours lies."""


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
            if id(thing) not in self.ours and not _holds_dead_objects(thing)
        ]
        self.ours.update((id(self.objects), id(self.__dict__), id(self)))
        self.dicts = dict(_owners_of_dicts(self.objects))
        self._code = [
            (thing, list(_of_code(thing.__code__)))
            for thing in self.objects
            if type(thing) is FunctionType
        ]
        self.ours.update((id(self.dicts), id(self._code)))

    def name(self, thing: Any) -> tuple[str, str] | None:
        """Module and name of what has them; of a dict that is somebody's, its owner's."""
        kind = type(thing)
        if kind is FunctionType:
            return str(thing.__module__ or ""), thing.__qualname__
        if kind is ModuleType:
            return _module_of(thing.__dict__), ""
        if kind is CodeType:
            return thing.co_filename, thing.co_qualname
        if kind is dict:
            return self.dicts.get(id(thing))
        if issubclass(kind, type):
            return _type_name(thing)
        if kind in _DESCRIPTORS:
            module, name = _type_name(thing.__objclass__)
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
            body = _words[begin : begin + size // 8]
            if not blocks.isdisjoint(body):
                for offset, word in enumerate(body):
                    if word in blocks and word not in found:
                        found[word] = (thing, _part(thing, offset * 8))
            if kind.__flags__ & _MANAGED:  # a dict or its values, perhaps marked in the low bit
                for word in _words[begin - 4 : begin - 2]:
                    if word & ~7 in blocks and word & ~7 not in found:
                        found[word & ~7] = (thing, "values")
        return found


def main() -> int:
    """Answer one question."""
    addresses = json.load(sys.stdin)
    found = Census().find(addresses)
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # nothing of this copy of the floor needs tidying up


def _holds_dead_objects(thing: Any) -> bool:
    """The module `_asyncio` (up to 3.13) says that it holds the iterators in its free list: who
    takes a reference to one and drops it again frees it twice, and makes the list endless."""
    return type(thing) is ModuleType and thing.__dict__.get("__name__") == "_asyncio"


def _of_code(code: CodeType) -> Iterator[Any]:
    yield code
    if _words[(id(code) + _CACHED) >> 3]:  # made when they are first asked for, and kept there
        yield from (code.co_code, code.co_varnames, code.co_cellvars, code.co_freevars)
    yield from (code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable)
    yield from (code.co_filename, code.co_name, code.co_qualname)
    for constant in code.co_consts:
        yield constant
        if type(constant) is CodeType:
            yield from _of_code(constant)


def _place_of_cached() -> int:
    """The offset of the word in code that is zero until `co_varnames` is first asked for."""
    code = compile("0", "", "eval")
    begin, size = id(code) >> 3, CodeType.__basicsize__ // 8
    before = _words[begin : begin + size]
    kept = code.co_varnames
    after = _words[begin : begin + size]
    del kept
    places = (n for n in range(3, size) if not before[n] and after[n])
    return next(places, 0) * 8 or 8  # the type, which is never zero


_CACHED = _place_of_cached()


def _owners_of_dicts(objects: list[Any]) -> Iterator[tuple[int, tuple[str, str]]]:
    """The dicts of modules and of classes, built-in ones included."""
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        if issubclass(type(module), ModuleType):
            yield id(vars(module)), (_module_of(vars(module)), "")
    stack: list[Any] = [each for each in objects if issubclass(type(each), type)]
    stack.append(object)
    while stack:
        kind = stack.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        proxy = type.__dict__["__dict__"].__get__(kind)
        yield _words[(id(proxy) + _PROXY_MAPPING) >> 3], _type_name(kind)
        stack += type.__subclasses__(kind)


def _type_name(kind: type) -> tuple[str, str]:
    module = type.__dict__["__module__"].__get__(kind)
    return str(module), type.__dict__["__qualname__"].__get__(kind)


def _module_of(namespace: dict[str, Any]) -> str:
    return str(namespace.get("__name__", ""))


def _longer(name: str, holder: Any, held: Any) -> str:
    """The name of what a named thing holds: by its key in a dict."""
    if type(holder) is dict:
        for key, value in holder.items():
            if value is held and type(key) is str:
                return f"{name}.{key}" if name else key
            if key is held:
                return name
    return name


def _up(at: int, parents: dict[int, Any], names: dict[int, tuple[str, str]]) -> Any:
    for _ in range(_PASSES):
        if at in names:
            return names[at]
        if at not in parents:
            return None
        at = id(parents[at])
    return names.get(at)


def _rank(thing: Any) -> int:
    """Of two holders without a name the better one: an object of a class says more than a list."""
    return 1 if type(thing) in (dict, list, tuple, set, frozenset) else 0


def _part(thing: Any, offset: int) -> str:
    kind = type(thing)
    if issubclass(kind, dict):
        return "keys" if offset == 32 else "values"
    if issubclass(kind, list):
        return "items"
    if issubclass(kind, set | frozenset):
        return "table"
    if issubclass(kind, type):
        return "instance keys" if offset > 800 else "part"
    return "part"


if __name__ == "__main__":
    sys.exit(main())
