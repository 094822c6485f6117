"""The blows: which, to whom, in which order, from a seed; and how each is dealt.

A *kill* ends a process; a *hog* ends by its own hunger, at its memory limit. The other faults (a
pause, no descriptors, a locked database, a full disk, a client that floods) end nobody, and whoever
dies of one is collateral; but a zygote that loses its descriptors amid its bake is baked anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.chaos_watch import Process, Watch
from benchmarks.support.figures import count_fds
from decnet.decoys.spool import RETRY_SECONDS

SHARES = {"manager": 0.025, "zygote": 0.045, "bus": 0.08, "worker": 0.42, "decoy": 0.43}
"""Of the kills, who gets how many; each gets at least one."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS)
TOGETHER = 0.12
"""Part of the kills that come in pairs, within milliseconds of each other."""
FAULT_EVERY = 12
"""One of the other faults for so many kills."""
FAULTS = ("pause", "pause", "fds", "flood", "hog", "locked", "disk")
HOG = "hog"
"""The worker that eats when it gets SIGUSR1, see `chaos_hog.py`."""
HOG_SECONDS = 120.0


@dataclass(frozen=True)
class Blow:
    """One step of the plan.

    Attributes:
        what: "kill" or one of `FAULTS`.
        victims: process names; () where there is none.
        gaps: seconds between one victim and the next.
        pause: seconds until the next blow.
        length: seconds that a fault lasts.
    """

    what: str
    victims: tuple[str, ...]
    signals: tuple[int, ...] = ()
    gap: float = 0.0
    pause: float = 0.1
    length: float = 1.0


def plan(seed: int, kills: int, names: dict[str, list[str]], faults: Sequence[str]) -> list[Blow]:
    """So many kills, and the other faults between them. Depends on its arguments alone.

    Args:
        names: kind of target -> names of processes.
    """
    chance = random.Random(seed)
    kinds = [kind for kind, share in SHARES.items() for _ in range(max(1, round(share * kills)))]
    # Whatever rounding added or left out is the workers' business.
    while len(kinds) > kills:
        kinds.remove("decoy" if kinds.count("decoy") > kinds.count("worker") else "worker")
    kinds += ["worker"] * (kills - len(kinds))
    chance.shuffle(kinds)
    blows: list[Blow] = []
    turn = 0
    while kinds:
        count = 2 if len(kinds) > 1 and chance.random() < TOGETHER else 1
        taken = [kinds.pop() for _ in range(count)]
        victims = tuple(dict.fromkeys(chance.choice(names[kind]) for kind in taken))
        kinds += taken[len(victims) :]  # the same one twice: once is enough
        signals = tuple(int(chance.choice(SIGNALS)) for _ in victims)
        gap, pause = chance.choice((0.0, 0.002, 0.03)), chance.uniform(0.05, 0.4)
        blows.append(Blow("kill", victims, signals, gap, pause))
        if faults and len(blows) % FAULT_EVERY == 0:
            fault = faults[turn % len(faults)]
            turn += 1
            blows.append(_fault(fault, names, chance))
    return blows


def _fault(what: str, names: dict[str, list[str]], chance: random.Random) -> Blow:
    kind = chance.choice(tuple(SHARES))
    victim = chance.choice(names[kind])
    victims = {"pause": (victim,), "fds": (victim,), "hog": (HOG,)}.get(what, ())
    return Blow(what, victims, pause=chance.uniform(0.1, 0.4), length=chance.uniform(0.5, 2.5))


class Dealer:
    """Deals blows to a watched fleet.

    Args:
        database: the fleet's SQLite file.
        disk: a small file system that holds the fleet's state; None: there is none to fill.
    """

    def __init__(self, watch: Watch, database: Path, disk: Path | None) -> None:
        self._watch = watch
        self._database = database
        self._disk = disk
        self.hog_ends: Counter[str] = Counter()

    def find(self, name: str) -> Process | None:
        """The live process of that name that has not been hit."""
        found = [p for p in self._watch.live.values() if p.name == name]
        fresh = [p for p in found if not self._watch.is_hit(p.pid)]
        return fresh[-1] if fresh else None

    async def deal(self, blow: Blow) -> int:
        """One blow, to its end; the kills that it dealt."""
        targets = [target for name in blow.victims if (target := self.find(name))]
        if blow.what == "kill":
            for number, (target, killing) in enumerate(zip(targets, blow.signals, strict=False)):
                if number:
                    await asyncio.sleep(blow.gap)
                self._kill(target, killing)
            return len(targets)
        if blow.what == "pause":
            for target in targets:
                await self._pause(target, blow.length)
        elif blow.what == "fds":
            for target in targets:
                await self._starve(target, blow.length)
        elif blow.what == "hog":
            for target in targets:
                await self._feed(target)
        elif blow.what == "flood":
            await self._flood(blow.length)
        elif blow.what == "locked":
            with _locked(self._database):
                await asyncio.sleep(blow.length)
        elif blow.what == "disk" and self._disk:
            with _full(self._disk):
                await asyncio.sleep(blow.length)
            # What a decoy could not write waits in its memory, and is tried again each second: who
            # kills it before that kills the news with it.
            await asyncio.sleep(2 * RETRY_SECONDS + 0.5)
        return 0

    def _kill(self, target: Process, number: int) -> None:
        # Noted first: the death may be seen before we are back from the call.
        self._watch.hit(target.name, target.kind, target.pid)
        signal.pidfd_send_signal(target.pidfd, number)

    async def _feed(self, target: Process) -> None:
        """Let it eat until the kernel ends it; how it ended goes into `hog_ends`."""
        self._watch.hit(target.name, HOG, target.pid)
        signal.pidfd_send_signal(target.pidfd, signal.SIGUSR1)
        until = asyncio.get_running_loop().time() + HOG_SECONDS
        while asyncio.get_running_loop().time() < until:
            worker = self._watch.workers.get(target.name)
            if worker and worker.pid != target.pid and worker.last_end:
                self.hog_ends[worker.last_end] += 1
                return
            await asyncio.sleep(0.05)
        self.hog_ends["not at all"] += 1

    async def _pause(self, target: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(target.pidfd, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                signal.pidfd_send_signal(target.pidfd, signal.SIGCONT)

    async def _starve(self, target: Process, seconds: float) -> None:
        """Not one descriptor more than it has."""
        state, _ = self._watch.zygotes.get(target.name.removeprefix("zygote."), ("", 0))
        if target.kind == "zygote" and state != "ready":
            self._watch.starved_bakes.add(target.pid)
        with contextlib.suppress(ProcessLookupError):
            before = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
            least = count_fds(target.pid)
            resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (least, before[1]))
            try:
                await asyncio.sleep(seconds)
            finally:
                resource.prlimit(target.pid, resource.RLIMIT_NOFILE, before)

    async def _flood(self, seconds: float) -> None:
        """A hundred clients of the control socket: half never read, half never stop asking."""
        call = b'{"method":"io.zygote.Manager.List","parameters":{}}\0'
        sockets: list[socket.socket] = []
        until = asyncio.get_running_loop().time() + seconds
        try:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    sockets.append(sock)
                    sock.setblocking(False)
                    sock.connect(str(self._watch.socket))
            while asyncio.get_running_loop().time() < until:
                for number, sock in enumerate(sockets):
                    with contextlib.suppress(OSError):
                        sock.send(call * 4)
                    if number % 2:
                        with contextlib.suppress(OSError):
                            sock.recv(1 << 16)
                await asyncio.sleep(0.02)
        finally:
            for sock in sockets:
                sock.close()


@contextlib.contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Nobody else can write to the database meanwhile."""
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        with contextlib.suppress(sqlite3.OperationalError):  # a writer would not let us in
            connection.execute("BEGIN IMMEDIATE")
        yield
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextlib.contextmanager
def _full(disk: Path) -> Iterator[None]:
    """No byte left on it."""
    ballast = disk / "ballast"
    try:
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            block = bytes(1 << 20)
            while True:
                file.write(block)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def text(blow: Blow) -> str:
    """A blow, for people."""
    if blow.what == "kill":
        names = [signal.Signals(number).name for number in blow.signals]
        return " and ".join(f"{s} {v}" for s, v in zip(names, blow.victims, strict=True))
    return " ".join((blow.what, *blow.victims, f"for {blow.length:.1f} s"))
