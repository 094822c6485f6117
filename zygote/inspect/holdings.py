"""What CPython's objects hold that the collector does not tell of, for the witness.

Everything here runs in a clone and reads its own memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

_PROXY_MAPPING = 16

words: Any = (ctypes.c_uint64 * (1 << 45)).from_address(0)
"""All words of the address space (48 bits at most); only read where an object of ours lies."""


def holds_dead_objects(thing: Any) -> bool:
    """The module `_asyncio` (up to 3.13) says that it holds the iterators in its free list: who
    takes a reference to one and drops it again frees it twice, and makes the list endless."""
    return type(thing) is ModuleType and thing.__dict__.get("__name__") == "_asyncio"


def of_code(code: CodeType) -> Iterator[Any]:
    """Code and all that hangs off it, into which the collector does not look."""
    yield code
    if words[(id(code) + _CACHED) >> 3]:  # made when they are first asked for, and kept there
        yield from (code.co_code, code.co_varnames, code.co_cellvars, code.co_freevars)
    yield from (code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable)
    yield from (code.co_filename, code.co_name, code.co_qualname)
    for constant in code.co_consts:
        yield constant
        if type(constant) is CodeType:
            yield from of_code(constant)


def _place_of_cached() -> int:
    """The offset of the word in code that is zero until `co_varnames` is first asked for."""
    code = compile("0", "", "eval")
    begin, size = id(code) >> 3, CodeType.__basicsize__ // 8
    before = words[begin : begin + size]
    kept = code.co_varnames
    after = words[begin : begin + size]
    del kept
    places = (n for n in range(3, size) if not before[n] and after[n])
    return next(places, 0) * 8 or 8  # the type, which is never zero


_CACHED = _place_of_cached()


def owners_of_dicts(objects: list[Any]) -> Iterator[tuple[int, tuple[str, str]]]:
    """The dicts of modules and of classes, built-in ones included."""
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        if issubclass(type(module), ModuleType):
            yield id(vars(module)), (module_of(vars(module)), "")
    stack: list[Any] = [each for each in objects if issubclass(type(each), type)]
    stack.append(object)
    while stack:
        kind = stack.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        proxy = type.__dict__["__dict__"].__get__(kind)
        yield words[(id(proxy) + _PROXY_MAPPING) >> 3], type_name(kind)
        stack += type.__subclasses__(kind)


def type_name(kind: type) -> tuple[str, str]:
    """Module and qualified name of a class, without running any code of its."""
    module = type.__dict__["__module__"].__get__(kind)
    return str(module), type.__dict__["__qualname__"].__get__(kind)


def module_of(namespace: dict[str, Any]) -> str:
    """The name of the module whose dict this is."""
    return str(namespace.get("__name__", ""))
