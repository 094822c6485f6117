"""Which modules a live process has, read out of its memory without its help.

A worker is a clone of its zygote, so `sys.modules` is at the same address in both, and what a
second clone says of itself (that address, and where the letters of a str begin) is true of the
worker too. What is read here is shaped alike in CPython 3.11 to 3.14, on 64-bit builds with a GIL:

- dict: reference count 8, type 8, used 8, version or watchers 8, keys 8, values 8.
- its keys: reference count 8, log2 of the size 1, log2 of the index's bytes 1, kind 1, pad 1,
  version 4, usable 8, entries 8, index, entries: hash, key, value (kind 0) or key, value (1).
- str: reference count 8, type 8, length 8; of an ASCII one the letters begin where an empty str
  ends, less its zero byte.

Nobody has to believe that: `names` is first tried on the clone, which knows the answer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

Read = Callable[[int, int], bytes]
"""Bytes at an address: (address, size); fewer where nothing is mapped (`Memory.slab`)."""

_DICT = struct.Struct("=6Q")
_KEYS = struct.Struct("=qBBBxIqq")
_TRIES = 50
_MOST = 1 << 20
"""Entries of a dict that we believe in."""
NOT_TO_IMPORT = frozenset(("__main__", "__mp_main__"))
"""Names in sys.modules that are no modules to preload."""


class UnreadableError(Exception):
    """What is at that address is no dict as we know it, or changes too fast."""


def names(read: Read, address: int, letters: int) -> list[str]:
    """The keys of `sys.modules`, in the order of their insertion.

    Args:
        address: of the dict.
        letters: where in an ASCII str its letters begin.
    Raises:
        UnreadableError: it is no dict as we know it.
    """
    for _ in range(_TRIES):
        head = _dict(read, address)
        found = _names(read, head[4], letters)
        # The process runs on meanwhile: what was read is true if nothing was added or moved.
        if found is not None and len(found) == head[2] and _dict(read, address) == head:
            return found
    raise UnreadableError("it changes all the time")


def type_at(read: Read, address: int) -> int:
    """The address of an object's type."""
    return int(_dict(read, address)[1])


def added(now: Sequence[str], before: Iterable[str]) -> list[str]:
    """The modules that came after the fork, in their order."""
    known = {*before, *NOT_TO_IMPORT}
    return [name for name in now if name not in known]


def _dict(read: Read, address: int) -> tuple[int, ...]:
    data = read(address, _DICT.size)
    if len(data) < _DICT.size:
        raise UnreadableError("nothing is mapped there")
    # Without the reference count, which changes whenever somebody looks at it.
    return (0, *_DICT.unpack(data)[1:])


def _names(read: Read, keys: int, letters: int) -> list[str] | None:
    """None where it does not hang together (any more)."""
    head = read(keys, _KEYS.size)
    if len(head) < _KEYS.size:
        return None
    _, log2_size, log2_index, kind, _, _, count = _KEYS.unpack(head)
    if kind not in (0, 1) or log2_index > 32 or log2_size > 32 or not 0 <= count <= _MOST:
        return None
    size = 24 if kind == 0 else 16
    data = read(keys + _KEYS.size + (1 << log2_index), count * size)
    if len(data) < count * size:
        return None
    found = []
    for entry in struct.iter_unpack("=3Q" if kind == 0 else "=2Q", data):
        key, value = entry[-2:]
        if value:  # else it was taken out
            name = _text(read, key, letters)
            if name is None:
                return None
            found.append(name)
    return found


def _text(read: Read, address: int, letters: int) -> str | None:
    head = read(address, letters + 64)
    if len(head) < letters:
        return None
    (length,) = struct.unpack_from("=q", head, 16)
    if not 0 <= length < 4096:
        return None
    text = head[letters : letters + length]
    if len(text) < length:
        text = read(address + letters, length)
    # A name that is not ASCII has its letters elsewhere; it is kept, as a name nobody can import.
    return text.decode("ascii", "replace") if len(text) == length else None
