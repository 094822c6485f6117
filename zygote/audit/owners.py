"""Which module holds an object, as far as a few steps back along references tell."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

_DEPTH = 8
_BREADTH = 400
"""A search that finds more holders than these on one step is given up."""


def owners(things: Iterable[Any]) -> dict[int, str]:
    """id of a thing -> `module.NAME` of what holds it, for those where it is found.

    Each step back is one walk over the heap, for all things together.
    """
    globals_of = {
        id(vars(module)): name
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
    }
    found: dict[int, str] = {}
    # what to find the holders of -> the things that it leads to
    edge: dict[int, tuple[Any, set[int]]] = {id(thing): (thing, {id(thing)}) for thing in things}
    leads = {key: roots for key, (_, roots) in edge.items()}
    within: dict[int, set[int]] = {}
    for _ in range(_DEPTH):
        targets = [thing for thing, _ in edge.values()]
        if not targets or len(targets) > _BREADTH:
            break
        following: dict[int, tuple[Any, set[int]]] = {}
        ours = {id(edge), id(targets), id(following), id(globals_of)}
        for holder in gc.get_referrers(*targets):
            if id(holder) in ours or _is_passing(holder, edge):
                continue
            roots = _led_to(holder, edge)
            if id(holder) in leads:  # another one's way goes on from here
                for root in roots:
                    within.setdefault(root, set()).update(leads[id(holder)])
                continue
            places = _places(holder, globals_of, edge, roots)
            for root, place in places.items():
                found.setdefault(root, place)
            if not places:
                following[id(holder)] = (holder, roots)
        leads |= {key: roots for key, (_, roots) in following.items()}
        edge = {
            key: (holder, roots - found.keys())
            for key, (holder, roots) in following.items()
            if roots - found.keys()
        }
    for root, others in within.items():
        for other in others & found.keys():
            found.setdefault(root, found[other])
    return found


def module_of(place: str) -> str:
    """The module in what `owners` gives."""
    while place and place not in sys.modules:
        place = place.rpartition(".")[0]
    return place


def _is_passing(holder: Any, edge: dict[int, tuple[Any, set[int]]]) -> bool:
    """Frames, modules as such, and the pairs that this search itself is made of."""
    if type(holder).__name__ in ("frame", "list_iterator", "module") or holder is sys.modules:
        return True
    return (
        type(holder) is tuple and len(holder) == 2 and any(pair is holder for pair in edge.values())
    )


def _led_to(holder: Any, edge: dict[int, tuple[Any, set[int]]]) -> set[int]:
    return set().union(*(edge[id(one)][1] for one in gc.get_referents(holder) if id(one) in edge))


def _places(
    holder: Any, globals_of: dict[int, str], edge: dict[int, tuple[Any, set[int]]], roots: set[int]
) -> dict[int, str]:
    """root -> `module.NAME` where the holder is a module's globals, a class or a function."""
    if id(holder) in globals_of:
        module = globals_of[id(holder)]
        return {
            root: f"{module}.{name}"
            for name, value in list(holder.items())
            if id(value) in edge
            for root in edge[id(value)][1]
        }
    if isinstance(holder, type | FunctionType) and holder.__module__ in sys.modules:
        return dict.fromkeys(roots, f"{holder.__module__}.{holder.__qualname__}")
    return {}
