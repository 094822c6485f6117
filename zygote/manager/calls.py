"""Calls on the control socket that were in progress when this manager was exec'd anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from asyncvarlink import AnnotatedResult

from zygote.control.interface import ReexecReport, RunReport
from zygote.manager.caller import run_report
from zygote.manager.events import EventLog


@dataclass(frozen=True, slots=True)
class Calls:
    """Answers them from where they were.

    Attributes:
        seq: of the last event before the exec.
        programs: pid -> its `wait` status, of each program that runs; who waits for one takes it.
        hang_up: told of a program whose caller is gone.
        report: for who asked for the exec.
    """

    events: EventLog
    seq: int
    programs: dict[int, asyncio.Future[int]]
    hang_up: Callable[[int], None]
    report: ReexecReport

    def carry(self, call: dict[str, Any]) -> AsyncIterator[Any] | Awaitable[Any]:
        """What gives the replies that are still to come.

        Args:
            call: its method, and the last reply that was sent ("told"), or None.
        Raises:
            ValueError: no such call is carried over.
        """
        method, told = call["method"], call["told"]
        if method == "Events":
            return self._follow(told["event"]["seq"] if told else self.seq)
        if method == "Run" and told:
            pid = told["report"]["pid"]
            return self._wait(pid, self.programs.pop(pid))
        if method == "Reexec":
            return self._done()
        raise ValueError(f"a call of {method} cannot be carried on")

    async def _follow(self, seq: int) -> AsyncIterator[AnnotatedResult]:
        async with aclosing(self.events.follow_after(seq)) as events:
            async for event in events:
                yield AnnotatedResult({"event": event}, continues=True)

    async def _wait(self, pid: int, ended: asyncio.Future[int]) -> AsyncIterator[AnnotatedResult]:
        try:
            status = await asyncio.shield(ended)
        finally:
            if not ended.done():
                self.hang_up(pid)
        report: RunReport = run_report(pid, status)
        yield AnnotatedResult({"report": report})

    async def _done(self) -> AnnotatedResult:
        return AnnotatedResult({"report": self.report})
