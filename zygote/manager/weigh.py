"""Whether there is memory for old and new at once, and how large a worker is."""

from __future__ import annotations

from collections.abc import Iterable

from zygote.errors import ZygoteError
from zygote.manager.recycle import read_private
from zygote.manager.slot import Slot
from zygote.manager.worker import Worker
from zygote.sys import procfs
from zygote.sys.room import read_available
from zygote.units import spell_bytes

_START = 2 * 1024 * 1024
"""Bytes that a worker has before it has done anything, page tables included, generously."""


def try_private(worker: Worker) -> int | None:
    """Bytes of private memory of its process; None where there is none, or it may not be read."""
    try:
        return read_private(worker.child) if worker.child else None
    except PermissionError:
        return None


def read_room(reserve: int) -> int:
    """Bytes that may be used beyond what is used now; may be negative."""
    return read_available() - reserve


def need(worker: Worker) -> int:
    """About the bytes that a second process of the worker takes."""
    return (try_private(worker) or 0) + _START


def check_bake(slots: Iterable[Slot], reserve: int) -> None:
    """Check that these zygotes may be there twice.

    Raises:
        ZygoteError: code no-memory.
    """
    need, room = sum(map(_size, slots)), read_room(reserve)
    if need <= room:
        return
    names = ", ".join(f"'{slot.spec.name}'" for slot in slots)
    raise ZygoteError(
        f"no memory to bake {names} beside what serves: that takes about {spell_bytes(need)}, and "
        f"{spell_bytes(max(0, room))} are to spare (memory_reserve {spell_bytes(reserve)})",
        code="no-memory",
        step="bake",
        hint="free some, lower memory_reserve in [fleet], or start anew: zygotectl down, up",
    )


def _size(slot: Slot) -> int:
    """About what a second one takes: of a branch, what it has beyond its parent's pages."""
    memory = procfs.read_memory(slot.current.pid) if slot.current else None
    if memory is None or slot.current is None:
        return 0
    parent = slot.current.parent
    shared = procfs.read_memory(parent.pid) if parent and not parent.gone else None
    return max(memory.uss_kib, memory.rss_kib - (shared.rss_kib if shared else 0)) * 1024
