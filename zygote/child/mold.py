"""A worker's end of being made a mold: what it was before its set-up, and who may ask.

A mold is a clone of this worker that becomes a zygote (`zygote.forkserver.mold`). It is asked for
by the packet that asks a zygote for a branch, and answered like that. The clone is made here, in a
callback of the worker's own event loop: the worker itself loses the milliseconds of a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from zygote.sys import fds as descriptors
from zygote.sys.stderr import say
from zygote.wire.link import BadPacketError, Link, Request
from zygote.wire.messages import Kind, Packet


class Past(NamedTuple):
    """What the zygote was that this worker was cloned from.

    Attributes:
        modules: names of what was imported.
        since: time.time_ns().
        pid: the worker's.
    """

    path: list[str]
    env: dict[str, str]
    modules: frozenset[str]
    since: int
    pid: int


_past: Past | None = None
_link: Link | None = None


def remember() -> None:
    """Before the set-up: what a mold must be again."""
    global _past
    modules = frozenset(sys.modules)
    _past = Past(list(sys.path), dict(os.environ), modules, time.time_ns(), os.getpid())


def take_seat(fd: int) -> None:
    """After the set-up: from now on somebody may ask, on this socket; owned."""
    global _link
    _link = Link.from_fd(fd)


def fileno() -> int:
    """Where to listen; -1 if nobody will ask."""
    return _link.fileno() if _link else -1


def answer(forget: Callable[[], object], busy: str = "") -> bool:
    """Answer the request that is there. In the clone it never returns.

    Args:
        forget: for the clone to call.
        busy: why it is no good moment, or "".
    Returns:
        False when nobody will ask again.
    """
    global _link
    assert _link and _past
    try:
        request = _link.wait()
    except BadPacketError as error:
        say(f"zygote: a request for a mold: {error}")
        if error.head is not None and error.head.kind is Kind.BRANCH:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _refuse(_link, error.head.spawn_id, error.errno, str(error))
        return True
    if request is None:
        _link.close()
        _link = None
        return False
    try:
        if request.head.kind is Kind.BRANCH:
            _clone(_link, _past, request, forget, busy or _why_not())
    except (BrokenPipeError, ConnectionResetError):
        pass  # nobody waits for the answer; a clone finds its own link closed
    except Exception as error:  # unanswered, the manager would wait until its patience ends
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _refuse(_link, request.head.spawn_id, _number(error), f"it cannot be cloned: {error}")
    finally:
        descriptors.close(request.fds)
    return True


def _clone(
    link: Link, past: Past, request: Request, forget: Callable[[], object], refusal: str
) -> None:
    spawn_id = request.head.spawn_id
    if refusal:
        _refuse(link, spawn_id, errno.EBUSY, refusal)
        return
    try:
        # What is not written yet would be in the clone's buffers, too.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
    except Exception as error:  # a full disk, or whatever the program has put in their place
        _refuse(link, spawn_id, _number(error), f"its output cannot be written: {error}")
        return
    zygote: Any = sys.modules["zygote.forkserver.__main__"]
    pid, pidfd = zygote.spawn_path().spawn(-1)
    if pid == 0:
        becoming: Any = sys.modules["zygote.forkserver.mold"]
        becoming.become(request.fds, past, forget)
    fds = (pidfd,) if pidfd >= 0 else ()
    try:
        link.send(Packet(Kind.SPAWNED, spawn_id, pid, fds=fds))
    finally:
        descriptors.close(fds)


def _refuse(link: Link, spawn_id: bytes, number: int, why: str) -> None:
    body = {"step": "mold", "errno": number, "detail": why, "hint": ""}
    link.send(Packet(Kind.SPAWN_FAILED, spawn_id, body=json.dumps(body).encode()))


def _number(error: Exception) -> int:
    return getattr(error, "errno", None) or errno.EIO


def _why_not() -> str:
    """What can be told without a clone."""
    tasks = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]  # noqa: PTH208
    if tasks:
        names = ", ".join(sorted(map(_name, tasks)))
        return f"it has {len(tasks)} more threads ({names}), which a clone would lack"
    loop = asyncio._get_running_loop()
    if loop is not None and type(loop).__module__ != "asyncio.unix_events":
        return f"its event loop is a {type(loop).__module__}.{type(loop).__qualname__}"
    selftest: Any = sys.modules["zygote.bake.selftest"]
    counts = selftest.immortal_counts()
    if isinstance(counts, str):  # what it drops would be finalised in all its clones
        return f"its objects cannot be made immortal: {counts}"
    return ""


def _name(task: str) -> str:
    try:
        with os.fdopen(os.open(f"/proc/self/task/{task}/comm", os.O_RDONLY)) as file:
            return file.read().strip()
    except OSError:
        return "?"
