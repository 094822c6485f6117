"""`zygotectl run`: any program in a copy of a zygote, on the caller's terminal.

Such a program belongs to its caller: no restart, no state file, no log. It ends when it ends,
when its caller hangs up, or with the fleet.
"""

from __future__ import annotations

import asyncio
import os
import signal

from zygote.errors import Exit, ZygoteError
from zygote.manager.children import Child
from zygote.manager.flight import Order
from zygote.manager.parts import Parts
from zygote.manager.policy import End
from zygote.manager.request import program_body
from zygote.manager.zygote import Zygote
from zygote.sys import fds

_HANG_UP_GRACE = 5.0
_KINDS = ("module", "file", "command", "function")


class Programs:
    """The programs that run for callers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._children = parts.children
        self.count = 0

    async def run(
        self, *, zygote: str | None, kind: str, target: str, args: list[str],
        env: dict[str, str], cwd: str, umask: int, stdin: int, stdout: int, stderr: int,
    ) -> tuple[int, asyncio.Future[int]]:  # fmt: skip
        """Start a program; returns once it is about to run, with its pid and its `wait` status.

        The fds stay the caller's.

        Raises:
            ZygoteError: no such zygote, or the step that failed.
        """
        slots = self._parts.zygotes.slots
        name = zygote or next(iter(slots), "")
        if name not in slots:
            raise ZygoteError(
                f"no zygote '{name}' in fleet '{self._parts.house.fleet}'",
                code="no-such-zygote",
                hint=f"there are: {', '.join(slots) or 'none'}",
                exit_code=Exit.NO_SUCH_WORKER,
            )
        if kind not in _KINDS:
            raise ZygoteError(f"no kind of program '{kind}'", code="usage", exit_code=Exit.USAGE)
        slot = slots[name]

        async def serve() -> Zygote:
            while not (slot.current and slot.current.ready):
                if slot.error:
                    raise slot.error
                await slot.change()
            return slot.current

        self.count += 1
        subject = f"run-{self.count}"
        leaf = self._parts.leaves.leaf("run", str(self.count))
        spawn_id = os.urandom(16)
        try:
            order = Order(
                name=subject,
                kind="run",
                spawn_id=spawn_id,
                body=lambda roles: program_body(
                    name=subject, kind=kind, target=target, args=args, env=env, cwd=cwd,
                    umask=umask, spawn_id=spawn_id, roles=roles,
                ),
                stdio=_copies(stdin, stdout, stderr),
                leaf=leaf,
                session=False,
                forks="a program of `run` stays in its caller's session, and a blank has its own",
            )  # fmt: skip
            spawned = await self._parts.spawner.spawn(order, serve)
        except BaseException:
            if leaf:
                leaf.remove()
            raise
        child = spawned.child
        detail = f"{kind} {target} after={spawned.ms / 1e3:.4f}s"
        self._parts.events.emit("run", subject, child.pid, detail)
        return child.pid, self.follow(child)

    def follow(self, child: Child) -> asyncio.Future[int]:
        """How a program ends, as its `wait` status."""
        status: asyncio.Future[int] = self._parts.loop.create_future()

        def ended(done: asyncio.Future[End]) -> None:
            self._parts.events.emit("ended", child.name, child.pid, done.result().story)
            if child.leaf:
                child.leaf.remove()
            if not status.done():
                status.set_result(done.result().wait_status)

        child.ended.add_done_callback(ended)
        return status

    def hang_up(self, pid: int) -> None:
        """The caller is gone: SIGHUP to the program's group, SIGKILL after a grace."""
        child = self._children.get(pid)
        if child and child.kind == "run" and not child.ended.done():
            _signal_group(child, signal.SIGHUP)
            _signal_group(child, signal.SIGCONT)
            self._parts.loop.call_later(_HANG_UP_GRACE, self._kill, child)

    async def close(self) -> None:
        """End them all: hang up, and kill those still there after a moment."""
        running = self._children.of_kind("run")
        for child in running:
            self.hang_up(child.pid)
        if running:
            waits = [asyncio.ensure_future(asyncio.shield(child.ended)) for child in running]
            await asyncio.wait(waits, timeout=1.0)
            for child in running:
                self._kill(child)
            await asyncio.wait(waits, timeout=5.0)

    def _kill(self, child: Child) -> None:
        if not child.ended.done():
            self._children.kill(child)


def _copies(*descriptors: int) -> list[int]:
    """Of all of them, the caller's; or of none, with OSError."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))
    except OSError:
        fds.close(copies)
        raise
    return copies


def _signal_group(child: Child, number: int) -> None:
    """To the group; it is not reaped yet, so the number is still its own."""
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
