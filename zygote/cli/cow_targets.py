"""Which processes `cow` compares, and whom it asks for names."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from zygote.cli.context import current
from zygote.cli.progress import Progress
from zygote.client.api import Client
from zygote.client.witness import ask
from zygote.control.interface import WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError
from zygote.inspect import cow
from zygote.inspect.compare import Comparison
from zygote.inspect.naming import Ask
from zygote.inspect.report import Report
from zygote.inspect.seek import Seeker
from zygote.inspect.sides import Side
from zygote.sys import procfs

WITNESS = "zygote.inspect.witness"


@dataclass(slots=True)
class Target:
    """A process to look at.

    Attributes:
        parent: the pid to compare with; None: there is nobody left.
        beside: what that is, for people.
        zygote: that a witness can be forked from; "" if there is none.
        notes: what is less precise, and why.
    """

    name: str
    pid: int
    parent: int | None
    beside: str
    zygote: str
    notes: list[str]


def of_pid(pid: int, parent: int | None) -> Target:
    """A process that is in no fleet of ours.

    Raises:
        ZygoteError: code gone.
    """
    stat = procfs.read_stat(pid)
    if stat is None:
        raise ZygoteError(f"no process {pid}", code="gone", exit_code=Exit.NOT_RUNNING,
                          hint="it has ended meanwhile, or never was")  # fmt: skip
    above = parent or stat.ppid
    return Target(f"pid {pid}", pid, above, f"pid {above}", "", [])


def of_workers(names: list[str] | None) -> list[Target]:
    """Workers that run; None: all.

    Raises:
        ZygoteError: code not-running; and as `Client.workers`.
    """

    async def look() -> tuple[list[WorkerState], list[WorkerState], list[ZygoteState]]:
        async with await Client.connect(current.socket()) as manager:
            every = await manager.workers()
            return await manager.workers(names) if names else every, every, await manager.zygotes()

    chosen, every, zygotes = asyncio.run(look())
    running = [worker for worker in chosen if worker.pid]
    if not running:
        raise ZygoteError(
            f"'{chosen[0].name}' does not run: it is {chosen[0].state}" if chosen else "no worker",
            code="not-running",
            hint=f"start it: zygotectl spawn {chosen[0].name}" if chosen else "",
            exit_code=Exit.NOT_RUNNING,
        )
    return [_target(worker, every, zygotes) for worker in running]


def _target(worker: WorkerState, every: list[WorkerState], zygotes: list[ZygoteState]) -> Target:
    """A worker beside its zygote; or, where that is no more, beside a sibling."""
    assert worker.pid
    name, pid = worker.name, worker.pid
    if not worker.zygote:
        why = 'it is a process of its own (isolation = "exec"): it shares with nobody'
        return Target(name, pid, None, "nobody", "", [why])
    zygote = next((zygote for zygote in zygotes if zygote.name == worker.zygote), None)
    same = zygote and zygote.pid and zygote.generation == worker.generation
    if zygote and zygote.pid and same and cow.is_fork(pid, zygote.pid):
        beside = f"its zygote '{zygote.name}' (pid {zygote.pid}, generation {zygote.generation})"
        return Target(name, pid, zygote.pid, beside, zygote.name, [])
    gone = f"its zygote '{worker.zygote}' of generation {worker.generation} is gone"
    siblings = [
        each
        for each in every
        if each.pid and each.pid != pid and each.zygote == worker.zygote
        and each.generation == worker.generation and cow.is_fork(pid, each.pid)
    ]  # fmt: skip
    if not siblings:
        why = f"{gone}, and so are all its siblings: what it shares with nobody was not compared"
        return Target(name, pid, None, "nobody", "", [why])
    sibling = min(siblings, key=lambda each: each.name)
    beside = f"its sibling '{sibling.name}' (pid {sibling.pid})"
    why = f"{gone}: what both workers wrote to is told apart less well, and there is no witness"
    return Target(name, pid, sibling.pid, beside, "", [why])


def look(
    targets: list[Target], progress: Progress, *, witness: bool
) -> list[tuple[Comparison, Report]]:
    """Compare and name them all; one witness a zygote.

    Raises:
        ZygoteError: as `zygote.inspect.cow.compare`; of several, those that end meanwhile are
            left out.
    """
    sides: dict[int, Side] = {}
    found: list[tuple[Target, Comparison]] = []
    for target in targets:
        progress.show([f"{target.name}: comparing with {target.beside}"])
        with contextlib.suppress(*((_Gone,) if len(targets) > 1 else ())):
            found.append((target, _compare(target, sides)))
    asks = {zygote: _Asker(zygote, progress) for zygote in {target.zygote for target, _ in found}}
    if len(found) > 1:
        for target, comparison in found:
            if target.zygote and witness:
                asks[target.zygote].collect(cow.wanted(comparison))
    reports = []
    for target, comparison in found:
        progress.show([f"{target.name}: naming"])
        asker = asks[target.zygote] if target.zygote and witness else None
        notes = list(target.notes)
        report = cow.report(
            comparison, target.name, target.beside, _safe(asker, comparison.parent, notes)
        )
        report.notes = [*notes, *report.notes]
        comparison.forget()
        reports.append((comparison, report))
    return reports


class _Gone(Exception):
    """A process of several has ended."""


def _compare(target: Target, sides: dict[int, Side]) -> Comparison:
    try:
        if target.parent is not None and target.parent not in sides:
            sides[target.parent] = cow.parent_side(target.parent)
        parent = sides[target.parent] if target.parent is not None else None
        return cow.compare(target.pid, parent, target.name)
    except ZygoteError as error:
        if error.code == "gone":
            raise _Gone from error
        raise


class _Asker:
    """One witness for all workers of a zygote."""

    def __init__(self, zygote: str, progress: Progress) -> None:
        self._zygote = zygote
        self._progress = progress
        self._collected: set[int] = set()
        self._known: dict[str, list[str]] = {}
        self._asked: set[int] = set()

    def collect(self, addresses: list[int]) -> None:
        """Addresses that will be asked for."""
        self._collected.update(addresses)

    def __call__(self, addresses: list[int]) -> dict[str, list[str]]:
        if new := (self._collected | set(addresses)) - self._asked:
            self._progress.show([f"asking a witness of zygote '{self._zygote}'"])
            control: Path = current.socket()
            self._known.update(ask(control, self._zygote, WITNESS, sorted(new)))
            self._asked |= new
        return self._known


def _safe(asker: Ask | None, parent: Side | None, notes: list[str]) -> Ask | None:
    """A witness that fails costs names, and no more."""
    if asker is None or parent is None:
        return None
    fallback = Seeker(parent)

    def asking(addresses: list[int]) -> dict[str, list[str]]:
        try:
            return asker(addresses)
        except ZygoteError as error:
            notes.append(f"{cow.NO_WITNESS}: {error.message}")
            return fallback(addresses)

    return asking
