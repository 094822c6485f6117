"""Learns of each end: by pidfd, in O(1), with the true exit status; and sweeps up the nameless.

The manager is a subreaper, so what a dead worker left, and a worker whose pid was never told
(its zygote died in between), ends as our child too. Such a one is reaped on SIGCHLD; how it ended
is kept for a while, since its pid may still be told.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from zygote.manager.children import Child, Children
from zygote.manager.policy import End
from zygote.sys import pidfd as pidfds

_STRAYS_KEPT = 256
_SWEEP_AGAIN = 0.02
"""Seconds in which the loop has come round."""
_FOREIGN_TRIES = 60
"""How often, 50 ms apart, we ask for the status of a process that another reaps."""


class Reaper:
    """Watches all children; resolves `Child.ended`.

    Args:
        broken: told of an exception in the handling of one child, with that child.
        last_words: called before a child is reaped: what it said must be heard while we still
            know whose it is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        children: Children,
        broken: Callable[[Child, BaseException], None],
        last_words: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._broken = broken
        self._last_words = last_words
        self._strays: dict[int, End] = {}
        self._watched: set[Child] = set()
        self._dying: list[Child] = []
        self._sweeping: asyncio.TimerHandle | None = None
        children.on_add(self.watch)

    def watch(self, child: Child) -> None:
        """From now on its end is noticed."""
        self._loop.add_reader(child.pidfd, self._readable, child)
        self._watched.add(child)

    def close(self) -> None:
        """Watch nothing any more."""
        for child in self._watched:
            self._loop.remove_reader(child.pidfd)
        self._watched.clear()
        self._dying.clear()
        if self._sweeping:
            self._sweeping.cancel()

    def try_stray(self, pid: int) -> End | None:
        """How a child of ours ended that was reaped before its pid was known to be a worker's."""
        return self._strays.pop(pid, None)

    def hand_over(self) -> dict[int, End]:
        """How those ended whose pid may still be told."""
        return dict(self._strays)

    def take_over(self, strays: dict[int, End]) -> None:
        """The same of an earlier manager in this process."""
        self._strays.update(strays)

    def sweep(self) -> None:
        """SIGCHLD: reap every zombie of ours that no pidfd of ours will tell of."""
        self._sweeping = None
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            child = self._children.get(found.si_pid)
            if child and child.ours and (child in self._watched or child in self._dying):
                # Its pidfd tells of it, and together with others that is cheaper. The kernel shows
                # us the next zombie only when this one is gone.
                if self._sweeping is None:
                    self._sweeping = self._loop.call_later(_SWEEP_AGAIN, self.sweep)
                return
            try:
                _, status = os.waitpid(found.si_pid, os.WNOHANG)
            except ChildProcessError:
                continue
            while len(self._strays) >= _STRAYS_KEPT:
                del self._strays[next(iter(self._strays))]
            self._strays[found.si_pid] = End.from_wait_status(status)

    def _readable(self, child: Child) -> None:
        """The main process is a zombie: once all that died in this turn are known, bury them."""
        if child not in self._watched:
            return
        self._watched.discard(child)
        self._loop.remove_reader(child.pidfd)
        if not self._dying:
            self._loop.call_soon(self._bury)
        self._dying.append(child)

    def _bury(self) -> None:
        """Hear their last words, kill what they left, then reap them."""
        dying, self._dying = self._dying, []
        workers = [child for child in dying if child.kind == "worker"]
        try:
            if workers:
                self._last_words()
                self._children.kill_rest(workers)
        except Exception as error:
            for child in workers:
                self._broken(child, error)
        for child in dying:
            self._reap(child, 0)

    def _reap(self, child: Child, tries: int) -> None:
        end = None
        try:
            end = self._try_end(child)
        except Exception as error:
            self._broken(child, error)
            tries = _FOREIGN_TRIES
        if end is None and tries < _FOREIGN_TRIES:
            # Another has still to reap it: its old parent, or on the fork path the process
            # between the zygote and it, which is about to end.
            self._loop.call_later(0.05, self._reap, child, tries + 1)
            return
        self._resolve(child, end or End("unknown"))

    def _try_end(self, child: Child) -> End | None:
        try:
            status = pidfds.wait_nowait(child.pidfd)
        except ChildProcessError:
            if child.ours and (stray := self.try_stray(child.pid)):
                return stray
            status = pidfds.try_exit_status(child.pidfd)
        return None if status is None else End.from_wait_status(status)

    def _resolve(self, child: Child, end: End) -> None:
        try:
            # An adopted worker's end is unknown on kernels before 6.15; its leaf still knows.
            killed = end in (End("signalled", signal.SIGKILL), End("unknown"))
            if killed and child.leaf and child.leaf.oom_kills() > child.oom_kills:
                end = End("oom_killed", detail=child.leaf.oom_story())
        except Exception as error:
            self._broken(child, error)
        self._children.remove(child)
        if not child.ended.done():
            child.ended.set_result(end)
