"""All that exists once the fleet file is read and the runtime folder is ours, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from zygote.control.interface import Result
from zygote.fleet.model import Fleet
from zygote.manager import recycle, request
from zygote.manager.adopt import Adoption
from zygote.manager.children import Child, Children
from zygote.manager.events import EventLog
from zygote.manager.floor import ZygoteShop
from zygote.manager.freshness import Freshness, Generation
from zygote.manager.handed import NOTIFY, Handed
from zygote.manager.leaves import Leaves
from zygote.manager.logs import Bounds, LogFiles
from zygote.manager.notify import NotifyServer
from zygote.manager.parts import Parts
from zygote.manager.peers import resolve
from zygote.manager.pressure import Pressure
from zygote.manager.programs import Programs
from zygote.manager.reaper import Reaper
from zygote.manager.reloads import Reloads
from zygote.manager.runtime import RuntimeDir, prepare_logs
from zygote.manager.spawn import Spawner
from zygote.manager.state import StateFiles
from zygote.manager.store import OF_SOCKETS
from zygote.manager.storm import Groups, Pace
from zygote.manager.unit import LIVE, Clock, State
from zygote.manager.verbs import Workers
from zygote.manager.zygotes import Zygotes

_ZYGOTE_LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ground:
    """What was there before the fleet was known.

    Attributes:
        env: what zygotes and workers inherit.
        spawn_path: auto, clone3, clone or fork.
        nofile: limits of open files as the manager was given them.
        trouble: told what ("state", "prints") cannot be written, and why; "" when it can again.
        closers: undone, last first, when the manager ends.
        handed: sockets of a socket unit, or of a manager before us.
        log: where workers' output goes: "file" or "journal".
    """

    loop: asyncio.AbstractEventLoop
    events: EventLog
    children: Children
    reaper: Reaper
    env: Mapping[str, str]
    spawn_path: str
    nofile: tuple[int, int]
    trouble: Callable[[str, str], None]
    closers: contextlib.ExitStack
    handed: Handed
    log: str


class Works:
    """The parts of a running manager.

    Raises:
        ZygoteError: the folder of the logs cannot be used.
    """

    def __init__(self, fleet: Fleet, runtime: RuntimeDir, ground: Ground) -> None:
        loop, events, children = ground.loop, ground.events, ground.children
        self.runtime = runtime
        self._ground = ground
        journal = fleet.name if ground.log == "journal" else ""
        self.logs = LogFiles(prepare_logs(fleet.log_dir or runtime.log_dir), events, journal)
        self.peers, self._untrue = resolve(fleet)
        for line in self._untrue:
            events.emit("control", "manager", detail=line)
        self.leaves = Leaves.discover(fleet.name)
        ground.closers.callback(self.leaves.close)
        if not self.leaves.enforced or self.leaves.why:
            events.emit("limits", "manager", detail=f"limits {self.leaves.summary}")
        self.state = StateFiles(runtime.state_dir, partial(ground.trouble, "state"))
        freshness = Freshness(runtime.path / "prints", loop.time, partial(ground.trouble, "prints"))
        freshness.used = self._generations
        shop = ZygoteShop(
            children=children, events=events, leaves=self.leaves, logs=self.logs,
            state=self.state, env=ground.env, spawn_path=ground.spawn_path, nofile=ground.nofile,
            freshness=freshness,
        )  # fmt: skip
        self.zygotes = Zygotes(shop, fleet.zygotes)
        ground.closers.callback(self.zygotes.close)
        self.workers = Workers(fleet)
        self.notify = NotifyServer(
            loop, runtime.notify_socket, children, self._heard, ground.handed.pop(NOTIFY)
        )
        ground.closers.callback(self.notify.close)
        self.spawner = Spawner(loop, children, ground.reaper)
        house = request.House(fleet.name, str(runtime.path), str(runtime.notify_socket), ground.env)
        self.parts = Parts(
            loop=loop, clock=Clock(loop.time, time.time), chance=_chance, events=events,
            children=children, spawner=self.spawner, zygotes=self.zygotes, state=self.state,
            leaves=self.leaves, logs=self.logs, house=house, find=self.workers.find,
            is_needed=self.workers.is_needed, retry_notify=self.notify.retry,
            pace=Pace(fleet.restart_rate), groups=Groups(), freshness=freshness,
        )  # fmt: skip
        self.workers.bind(self.parts)
        self.pressure: Pressure | None = None
        if fleet.pressure_limit is not None:
            self.pressure = Pressure(
                self.leaves.pressure_file(), fleet.pressure_limit, fleet.pressure_duration,
                self.workers.all, events,
            )  # fmt: skip
            ground.closers.callback(self.pressure.close)
        self.programs = Programs(self.parts)
        self.reloads = Reloads(runtime.path, self.workers, self.parts, events)

    async def autostart(self, adoption: Adoption) -> list[Result]:
        """Start what is to run; the first of them, which come after nobody, are waited for."""
        workers = self.workers
        names = [
            worker.name
            for worker in workers.all()
            if worker.unit.state not in LIVE and worker.unit.state is not State.BACKOFF
            if worker.name in adoption.wanted
            or (
                worker.unit.spec.autostart
                and worker.name in workers.fleet.workers
                and worker.name not in adoption.resting
                and worker not in adoption.adopted  # it ended meanwhile, and its policy decided
            )
        ]
        first = [name for name in names if not workers.match(name)[0].unit.spec.after]
        results = await workers.start([name for name in names if name not in first], "no")
        return results + await workers.start(first, "up")

    async def keep_budgets(self) -> None:
        """Recycle workers that are beyond `max_private`; for ever."""
        await recycle.keep(self.workers.all, self.parts)

    async def end(self) -> None:
        """Stop every worker, in reverse order, and every program."""
        await asyncio.gather(self.workers.stop_all(self.workers.all()), self.programs.close())

    def forget(self) -> None:
        """The fleet ended as it should: there is nothing for another manager to know."""
        for worker in self.workers.all():
            if worker.unit.state not in LIVE:
                self.state.forget(worker.name)

    def last_words(self) -> None:
        """A child has ended: hear what it said before."""
        self.notify.drain()

    def broken(self, child: Child, error: BaseException) -> None:
        """The handling of a child failed in a way that we did not foresee."""
        worker = self.workers.find(child.name) if child.kind == "worker" else None
        if worker:
            worker.broke(error)
        else:
            text = "".join(traceback.format_exception(error)).strip()
            self._ground.events.emit("internal-error", child.name, child.pid, text)

    def bounds(self) -> list[Bounds]:
        """How long each log may grow."""
        bounds = [
            Bounds(worker.name, worker.unit.spec.log_max_bytes, worker.unit.spec.log_keep)
            for worker in self.workers.all()
        ]
        zygotes = (f"zygote.{name}" for name in self.zygotes.slots)
        return bounds + [Bounds(name, _ZYGOTE_LOG_BYTES, 1) for name in zygotes]

    def notices(self) -> list[str]:
        """What of the fleet file cannot be had here."""
        why = self.pressure.why_not if self.pressure else ""
        return [*self._untrue, *([f"pressure_limit is not watched: {why}"] if why else [])]

    def summary(self) -> str:
        """The fleet in a few words."""
        units = [worker.unit for worker in self.workers.all()]
        ready = sum(unit.state is State.READY for unit in units)
        failed = sum(unit.state is State.FAILED for unit in units)
        text = f"{len(units)} workers, {ready} ready"
        return f"{text}, {failed} failed" if failed else text

    def _generations(self) -> set[Generation]:
        """Those that a process of the fleet is, or is a copy of."""
        running = {of for worker in self.workers.all() for of in worker.generations}
        return running | {zygote.identity for zygote in self.zygotes.live()}

    def _heard(self, child: Child, message: dict[str, str], fds: list[int]) -> None:
        worker = self.workers.find(child.name)
        if worker and worker.words.are_of(child):
            if not OF_SOCKETS.isdisjoint(message):
                worker.words.heard_sockets(message, fds)
                message = {key: message[key] for key in message.keys() - OF_SOCKETS}
            if message:
                worker.words.heard(message)


def _chance() -> float:
    """A number in [0, 1): seven random bytes, without the `random` module's state and size."""
    return int.from_bytes(os.urandom(6), "big") / 2**48
