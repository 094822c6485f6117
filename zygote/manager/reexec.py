"""`zygotectl reexec`: another version of the manager takes over, in the same process.

    1. the new code is asked whether it can read the state (`handover`); if not, nothing changes
    2. calls in progress are answered; then nothing new is read, and no spawn is begun
    3. what is begun is finished: spawns at a zygote, a log that is being rotated
    4. the state is written, and execve(2) called

All up to the last is undone where it cannot be, and the fleet goes on under the old code. The same
process means the same pid and the same children, so nobody's end can be missed: one that dies in
between stays a zombie until the new code reaps it. Signals to the manager are blocked meanwhile,
connections to it wait in the listener, what workers say waits in the notify socket. If the new code
fails after all, it starts as after a crash: by the state files, with new zygotes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from zygote import notify
from zygote.errors import ZygoteError
from zygote.manager import carried, handover
from zygote.manager.checker import read_all
from zygote.manager.children import Children
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.handed import CONTROL, FIRST
from zygote.manager.reaper import Reaper
from zygote.manager.start import Program
from zygote.manager.unit import State
from zygote.manager.works import Works
from zygote.sys import fds

METHOD = "Reexec"
BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""Signals that wait until the new code has its handlers."""

_ASK_TIMEOUT = 60.0
_SETTLE_TIMEOUT = 15.0
"""Seconds for what was begun; spawns take milliseconds."""
_POLL = 0.005
_OUTPUT_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Site:
    """What of the manager it is about.

    Attributes:
        options: the command line of a manager like this one, without `--resume`.
        about: what the app itself has to hand over, and the fleet.
        busy: what of the app's own doing is not done, or "".
    """

    works: Works
    control: Control
    children: Children
    reaper: Reaper
    events: EventLog
    options: list[str]
    about: Callable[[], dict[str, Any]]
    busy: Callable[[], str]


async def reexec(site: Site, timeout: float) -> NoReturn:
    """Become the new code; returns only by an exception, and then all is as before.

    Args:
        timeout: seconds for calls in progress to be answered.
    Raises:
        ZygoteError: why not.
    """
    began = time.monotonic()
    version = await _ask(site)
    try:
        await _quiet(site, timeout)
        _become(site, version, began)
    finally:
        site.works.spawner.release()
        site.works.zygotes.keep()
        site.control.release()


def _state(site: Site) -> dict[str, Any]:
    state = carried.leave(site.works, site.children, site.reaper)
    return {**state, **site.control.hand_over(), **site.about(), "events": site.events.hand_over()}


def command(*more: str) -> list[str]:
    """The command line of a manager, with the interpreter's options of this one."""
    words = sys.orig_argv
    flags = words[1 : words.index("-m")] if "-m" in words else ["-P"]
    return [sys.executable, *flags, "-m", "zygote.manager", *more]


async def _ask(site: Site) -> str:
    """Ask the code on disk whether it could take over; its version.

    Raises:
        ZygoteError: it could not, or does not even start.
    """
    try:
        memfd = handover.write(_state(site))
    except (TypeError, OSError) as error:
        raise _refused(f"the state cannot be written: {error}") from error
    try:
        output, errors, end = await _run(command("--check-state", str(memfd)), memfd, site)
    finally:
        os.close(memfd)
    try:
        answer = json.loads(output)
        if "error" in answer:
            why = ZygoteError.from_dict(answer["error"])
            raise _refused(why.message, why.hint, why.code)
        return str(answer["version"])
    except (ValueError, KeyError, TypeError) as error:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise _refused(
            f"the new code {end} when it was asked: {last[0] if last else 'without a word'}",
            f"see what ails it: {' '.join(command('--help'))}",
            "state-unasked",
        ) from error


async def _run(argv: list[str], memfd: int, site: Site) -> tuple[bytes, bytes, str]:
    """Run it to its end: what it said on stdout and stderr, and how it ended."""
    loop = asyncio.get_running_loop()
    ours: list[int] = []
    theirs: list[int] = []
    try:
        try:
            for _ in ("stdout", "stderr"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ours.append(reader)
                theirs.append(writer)
                os.set_blocking(reader, False)
            program = Program(argv, os.environ, "", theirs[0], theirs[1], (memfd,))
            child = site.children.start(program, "checker", "--check-state")
        finally:
            fds.close(theirs)
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                said, ill = await asyncio.gather(*(read_all(loop, reader) for reader in ours))
                return said, ill, str(await asyncio.shield(child.ended))
        except TimeoutError:
            raise _refused(f"the new code gave no answer within {_ASK_TIMEOUT:g} s") from None
        finally:
            if not child.ended.done():
                site.children.kill(child)
    except OSError as error:
        raise _refused(f"the new code cannot be started: {error.strerror}") from error
    finally:
        fds.close(ours)


async def _quiet(site: Site, timeout: float) -> None:
    """Until nothing is under way that could not be left as it is.

    Calls are read on for half of the time: if there is a moment without any, nobody has to wait.
    """
    control, works = site.control, site.works
    now = time.monotonic
    patience = now() + timeout
    while control.under_way(METHOD) and now() < patience - timeout / 2:
        await asyncio.sleep(_POLL)
    control.hold()
    while calls := control.under_way(METHOD):
        if now() > patience:
            raise _refused(f"calls are in progress: {', '.join(sorted(set(calls)))}", _LATER)
        await asyncio.sleep(_POLL)
        control.drop_slow()
    patience = now() + _SETTLE_TIMEOUT
    works.spawner.hold()
    works.zygotes.hold()
    while why := _unsettled(site):
        if now() > patience:
            raise _refused(f"{why}, for {_SETTLE_TIMEOUT:g} s now", _LATER)
        await asyncio.sleep(_POLL)


def _unsettled(site: Site) -> str:
    """What is under way in the manager itself, or ""."""
    works = site.works
    if busy := site.busy():
        return busy
    if works.spawner.flying:
        return f"{works.spawner.flying} spawns are under way"
    serving = works.zygotes.serving()
    if waiting := [zygote.spec.name for zygote in serving if zygote.waiting]:
        return f"zygote '{waiting[0]}' has still to answer"
    kept = {zygote.child for zygote in serving}
    if [child for child in site.children.of_kind("zygote") if child not in kept]:
        return "a zygote is about to end"
    for worker in works.workers.all():
        if worker.unit.state is State.STOPPING and worker.child is None:
            return f"the start of '{worker.name}' is being given up"
    return "a log is being rotated" if works.logs.rotating else ""


def _become(site: Site, version: str, began: float) -> NoReturn:
    """Call execve. Nothing may happen between the state and that: no await, no callback.

    Raises:
        ZygoteError: the kernel refuses.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    kept: list[int] = []
    memfd = -1
    try:
        site.events.emit("reexec", "manager", os.getpid(), f"begins version={version}")
        state = {**_state(site), "began": began}
        memfd = handover.write(state)
        connections = [each["fd"] for each in state["connections"]]
        kept = [memfd, state["listener"], *connections, *carried.descriptors(state)]
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        notify.reloading()
        words = command(*site.options, "--resume", str(memfd))
        os.execve(sys.executable, words, os.environ)
    except (OSError, TypeError) as error:
        for descriptor in kept:
            os.set_inheritable(descriptor, False)
        if memfd >= 0:
            os.close(memfd)
        notify.ready()
        raise _refused(f"the new code cannot be exec'd: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


def start_anew(options: list[str], data: dict[str, Any]) -> NoReturn:
    """The exec was done and the state cannot be taken over: start as after a crash.

    Args:
        data: the state, as far as it could be read: a socket unit's listener is passed on.
    """
    sys.stderr.write("zygote-manager: cannot go on from there; starting as after a crash\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    kept = [0, 1, 2]
    if CONTROL in data.get("held", ()):
        put_at(data["listener"], FIRST)
        kept.append(FIRST)
        env |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": CONTROL}
    fds.close_others(kept)
    os.execve(sys.executable, command(*options), env)


def put_at(descriptor: int, number: int) -> None:
    """Have a copy under a number, to be open after an exec.

    A socket unit's listener is under its number already: dup2(2) does nothing then, and would leave
    it close-on-exec.
    """
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)


_LATER = "nothing has changed; try again, or give it more time: zygotectl reexec --timeout 5min"


def _refused(why: str, hint: str = "", code: str = "reexec-refused") -> ZygoteError:
    return ZygoteError(
        f"the manager stays as it is: {why}", code=code, step="reexec",
        hint=hint or "nothing has changed",
    )  # fmt: skip
