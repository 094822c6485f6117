"""The attributes of an object as JSON, and back.

A manager that is exec'd anew has to know on what it knew: deadlines, counts, the times of restarts.
Attributes are carried by name: one that the new code no longer has is dropped, one that is new to
it keeps its first value. Which cannot be carried (functions, other objects) the caller leaves out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from zygote.manager.policy import End
from zygote.manager.unit import State

_KIND, _VALUE = "$", "v"


def attributes(thing: object, leave: Iterable[str] = ()) -> dict[str, Any]:
    """All attributes but those to leave.

    Raises:
        TypeError: one is of a type that cannot be carried.
    """
    left = frozenset(leave)
    return {
        name: encode(value, f"{type(thing).__name__}.{name}")
        for name, value in vars(thing).items()
        if name not in left
    }


def restore(thing: object, data: dict[str, Any]) -> None:
    """Set the attributes that `thing` has."""
    for name, value in data.items():
        if hasattr(thing, name):
            setattr(thing, name, decode(value))


def encode(value: Any, what: str = "it") -> Any:
    """As JSON.

    Raises:
        TypeError: `what` is of a type that cannot be carried.
    """
    # StrEnum and bool before what they are built on.
    if isinstance(value, State):
        return {_KIND: "state", _VALUE: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, End):
        return {_KIND: "end", _VALUE: asdict(value)}
    if isinstance(value, bytes):
        return {_KIND: "bytes", _VALUE: value.hex()}
    if isinstance(value, dict):
        return {
            _KIND: "dict",
            _VALUE: [[encode(k, what), encode(v, what)] for k, v in value.items()],
        }
    for kind, of in _SEQUENCES.items():
        if type(value) is of:
            return {_KIND: kind, _VALUE: [encode(each, what) for each in value]}
    raise TypeError(f"{what} cannot be carried over: {type(value).__name__}")


def decode(value: Any) -> Any:
    """The inverse of `encode`.

    Raises:
        ValueError, TypeError, KeyError: not made by it.
    """
    if not isinstance(value, dict):
        return value
    kind, inner = value[_KIND], value[_VALUE]
    if kind == "state":
        return State(inner)
    if kind == "end":
        return End(**inner)
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "dict":
        return {decode(k): decode(v) for k, v in inner}
    return _SEQUENCES[kind](decode(each) for each in inner)


_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "deque": deque, "set": set}
