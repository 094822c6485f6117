"""start, stop, restart, kill: for many workers at once, in the order that `after` asks for."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import replace

from zygote.control.interface import Result
from zygote.errors import Exit, ZygoteError, errno_name
from zygote.fleet.model import Fleet, WorkerSpec, instantiate
from zygote.manager.parts import Parts
from zygote.manager.signals import parse_signal
from zygote.manager.unit import LIVE, State
from zygote.manager.views import result_of
from zygote.manager.worker import Worker
from zygote.sys.room import read_bounds, shortage

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_MANY = 50
"""Workers in one start from which on it is asked beforehand whether there is room."""
_STOP_MORE = 15.0
"""Seconds beyond stop_grace after which a stop waits no more: a process asleep on a dead disk."""


class Workers:
    """All workers of the fleet, those made of templates included, in start order."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._parts: Parts
        self._by_name: dict[str, Worker] = {}
        self._needed: tuple[Fleet, frozenset[str]] | None = None

    def bind(self, parts: Parts) -> None:
        """The mechanisms are there: make the workers of the fleet file."""
        self._parts = parts
        for name in self.fleet.order:
            self.add(self.fleet.workers[name])

    def add(self, spec: WorkerSpec) -> Worker:
        """A worker that is new to us, inactive."""
        worker = Worker(self._parts, spec)
        self._by_name[spec.name] = worker
        return worker

    def drop(self, worker: Worker) -> None:
        """A worker that is no more: its state files go too."""
        if self._by_name.get(worker.name) is worker:
            del self._by_name[worker.name]
            self._parts.state.forget(worker.name)

    def sort(self) -> None:
        """Back into start order, after workers came with a new fleet file."""
        place = {name: number for number, name in enumerate(self.fleet.order)}
        last = len(place)
        names = sorted(self._by_name, key=lambda name: place.get(name, last))
        self._by_name = {name: self._by_name[name] for name in names}

    def pace(self, rate: float) -> None:
        """Restarts by themselves, a second, of the whole fleet."""
        self._parts.pace.rate = rate

    def find(self, name: str) -> Worker | None:
        """By exact name."""
        return self._by_name.get(name)

    def all(self) -> list[Worker]:
        """In start order; instances of templates last, in the order they came."""
        return list(self._by_name.values())

    def is_needed(self, name: str) -> bool:
        """Whether others come `after` it."""
        if self._needed is None or self._needed[0] is not self.fleet:
            specs = (*self.fleet.workers.values(), *self.fleet.templates.values())
            self._needed = self.fleet, frozenset(need for spec in specs for need in spec.after)
        return name in self._needed[1]

    def spec_of(self, name: str) -> WorkerSpec | None:
        """What the fleet file says about a name now: a worker, or an instance of a template."""
        if spec := self.fleet.workers.get(name):
            return spec
        stem, at, instance = name.partition("@")
        template = self.fleet.templates.get(stem + at) if at else None
        if template is None or not instance or not _NAME.fullmatch(name):
            return None
        return instantiate(template, instance)

    def match(self, name: str) -> list[Worker]:
        """The workers that a name, a glob, or a template ("decoy@": all its instances) names.

        Raises:
            ZygoteError: code no-such-worker; there is none.
        """
        if worker := self._by_name.get(name):
            return [worker]
        pattern = name + "*" if name in self.fleet.templates else name
        found = [w for w in self.all() if fnmatch.fnmatchcase(w.name, pattern)]
        if not found and name not in self.fleet.templates:
            raise self._unknown(name)
        return found

    def select(self, names: Iterable[str]) -> tuple[list[Worker], list[Result]]:
        """The workers named, each once, in start order; and a failed result for a name of none."""
        chosen: dict[str, Worker] = {}
        wrong = []
        for name in names:
            try:
                chosen.update((worker.name, worker) for worker in self.match(name))
            except ZygoteError as error:
                wrong.append(_failure(name, error))
        return [worker for worker in self.all() if worker.name in chosen], wrong

    # The verbs

    async def start(
        self, names: Iterable[str], wait: str = "ready", timeout: float | None = None
    ) -> list[Result]:
        """Start workers, and those that they come `after`; wait for the ones named.

        Args:
            wait: "no", "up" or "ready".
        """
        names = list(names)
        if full := self._no_room(names):
            return [_failure(name, full) for name in names]
        wrong = [result for name in names if (result := self._instantiate(name))]
        bad = {result.name for result in wrong}
        chosen, unknown = self.select(name for name in names if name not in bad)
        failures = {worker.name: worker.unit.failures for worker in chosen}
        for worker in self._with_needs(chosen):
            worker.start()
        waits = (self._started(w, wait, timeout, failures[w.name]) for w in chosen)
        return [*await asyncio.gather(*waits), *wrong, *unknown]

    async def stop(self, names: Iterable[str], timeout: float | None = None) -> list[Result]:
        """Stop workers; each waits for those named that come `after` it to be gone first."""
        chosen, unknown = self.select(names)
        results = await self.stop_all(chosen, timeout)
        for worker in chosen:
            if worker.unit.state is State.INACTIVE and worker.name not in self.fleet.workers:
                self.drop(worker)
        return results + unknown

    async def restart(self, names: Iterable[str], timeout: float | None = None) -> list[Result]:
        """Stop, then start and wait for ready. One that cannot be stopped is not started."""
        names = list(names)
        wrong = [result for name in names if (result := self._instantiate(name))]
        bad = {result.name for result in wrong}
        chosen, unknown = self.select(name for name in names if name not in bad)
        stopped = await self.stop_all(chosen, timeout)
        left = [result for result in stopped if not result.ok]
        again = [result.name for result in stopped if result.ok]
        return [*await self.start(again, "ready", timeout), *left, *wrong, *unknown]

    def kill(self, names: Iterable[str], name_of_signal: str) -> list[Result]:
        """Send a signal to main processes.

        Raises:
            ZygoteError: code no-such-signal.
        """
        number = parse_signal(name_of_signal)
        chosen, results = self.select(names)
        sent = []
        for worker in chosen:
            try:
                alive = worker.signal(number)
            except OSError as error:
                sent.append(result_of(worker, False, f"cannot signal '{worker.name}': "
                            f"{error.strerror} ({errno_name(error.errno or 0)})",
                            "it runs as another user, and the manager is not root",
                            "not-allowed"))  # fmt: skip
                continue
            if alive:
                sent.append(result_of(worker, True))
            else:
                state = worker.unit.state
                sent.append(result_of(worker, False, f"'{worker.name}' does not run: it is {state}",
                            f"start it: zygotectl spawn {worker.name}", "not-running"))  # fmt: skip
        return sent + results

    async def stop_all(self, workers: list[Worker], timeout: float | None = None) -> list[Result]:
        """Stop these, in parallel where `after` allows, in reverse order where it does not."""
        going: dict[str, asyncio.Task[Result]] = {}
        users: dict[str, list[str]] = {}
        for worker in workers:
            for need in worker.unit.spec.after:
                users.setdefault(need, []).append(worker.name)

        async def one(worker: Worker) -> Result:
            later = [going[name] for name in users.get(worker.name, ())]
            if later:
                await asyncio.wait(later)
            return await self._stopped(worker, timeout)

        for worker in reversed(workers):
            going[worker.name] = asyncio.create_task(one(worker), name=f"stop {worker.name}")
        return [await going[worker.name] for worker in workers]

    # Inside

    async def _started(
        self, worker: Worker, wait: str, timeout: float | None, failures: int
    ) -> Result:
        unit = worker.unit
        enough = {State.READY} if wait == "ready" else {State.READY, State.UP}
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if unit.failures > failures:
                        return result_of(worker, False)
                    if unit.state in enough or (wait == "no" and unit.state in LIVE):
                        return result_of(worker, True)
                    if unit.state not in LIVE:
                        # One that did its work and ended before we looked has not failed.
                        return result_of(worker, not unit.error and unit.last_end is not None)
                    if why := worker.needs.blocked:
                        return result_of(worker, False, why.message, why.hint, why.code)
                    await worker.change()
        except TimeoutError:
            what = unit.status or f"it is {unit.state}"
            error = f"'{worker.name}' is not {wait} within {timeout:g} s: {what}"
            return result_of(worker, False, error, "it goes on; see zygotectl status", "timeout")

    async def _stopped(self, worker: Worker, timeout: float | None) -> Result:
        worker.stop()
        unit = worker.unit
        limit = unit.spec.stop_grace + _STOP_MORE if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                while unit.state in LIVE or worker.retiring:
                    if unit.wanted:
                        error = f"'{worker.name}' was started again by another command meanwhile"
                        return result_of(worker, False, error, "", "started-again")
                    await worker.change()
        except TimeoutError:
            error = f"'{worker.name}' is not gone within {limit:g} s"
            return result_of(worker, False, error, "it is being killed at stop_grace", "timeout")
        return result_of(worker, True)

    def _with_needs(self, workers: list[Worker]) -> list[Worker]:
        """These and what they come after, needs first."""
        ordered: dict[str, Worker] = {}

        def visit(worker: Worker) -> None:
            for name in worker.unit.spec.after:
                need = self._by_name.get(name)
                if need is None and (spec := self.spec_of(name)):
                    need = self.add(spec)
                if need and need.name not in ordered:
                    visit(need)
            ordered[worker.name] = worker

        for worker in workers:
            if worker.name not in ordered:
                visit(worker)
        return list(ordered.values())

    def _no_room(self, names: list[str]) -> ZygoteError | None:
        """Why so many more cannot be had: said before the first of them is made."""
        if len(names) < _MANY:
            return None  # the kernel says it itself, and nobody waits for hundreds in vain
        live = {worker.name for worker in self.all() if worker.unit.state in LIVE}
        return shortage(len(set(names) - live), read_bounds(len(live)))

    def _instantiate(self, name: str) -> Result | None:
        """Make an instance of a template if that is what `name` asks for; a result if it cannot."""
        if name in self._by_name:
            return None
        if spec := self.spec_of(name):
            self.add(spec)
        elif name in self.fleet.templates:
            error = ZygoteError(f"'{name}' is a template", code="template",
                                hint=f"name an instance: {name}NAME",
                                exit_code=Exit.USAGE)  # fmt: skip
            return _failure(name, error)
        return None

    def _unknown(self, name: str) -> ZygoteError:
        known = [*self._by_name, *(f"{template}NAME" for template in self.fleet.templates)]
        shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        return ZygoteError(
            f"no worker '{name}' in fleet '{self.fleet.name}'",
            code="no-such-worker",
            hint=f"there are: {shown}" if known else "the fleet file names no worker",
            exit_code=Exit.NO_SUCH_WORKER,
        )


def same_spec(one: WorkerSpec, other: WorkerSpec) -> bool:
    """Equal but for the line they stand on."""
    return replace(one, place="") == replace(other, place="")


def _failure(name: str, error: ZygoteError) -> Result:
    return Result(name, False, error=error.message, hint=error.hint, code=error.code)
