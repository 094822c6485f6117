"""A crowd of attackers, from a seed: who comes, from where, with which manners, when.

scanner        one look at every decoy, in order, then gone
brute-forcer   one decoy, one password after the other
human          a pause, a command, a pause; now and then a whole session at a terminal
beacon         the same page at a steady interval

Each attacker has an address of its own in 127.0.0.0/8. The plan is made before the first deed and
depends on the seed alone; how long a decoy takes does not change who comes next.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import asyncssh

from decnet.load import deeds
from decnet.load.deeds import Deed

NET = "127.99"
AT_ONCE = 32
"""Deeds under way; more would measure this machine's scheduler."""
KINDS_OF_ATTACKER = ("scanner", "brute-forcer", "human", "beacon")


@dataclass(frozen=True)
class Target:
    """A decoy that can be visited."""

    worker: str
    kind: str
    port: int


@dataclass(frozen=True)
class Step:
    """One planned deed."""

    at: float
    deed: Deed
    target: Target
    source: str
    mark: str
    manner: str


@dataclass
class Tally:
    """What the crowd knows of its own deeds."""

    done: dict[str, float] = field(default_factory=dict)
    """Mark -> when its decoy had answered, on the monotonic clock."""
    failed: dict[str, str] = field(default_factory=dict)
    """Mark -> what was wrong; it may or may not have been recorded."""
    sources: set[str] = field(default_factory=set)


def plan(targets: Sequence[Target], seconds: float, rate: float, seed: int) -> list[Step]:
    """The steps of a crowd, in the order of their times.

    Args:
        seconds: until the last step begins.
        rate: deeds a second, on average.
    Raises:
        ValueError: no decoys to visit.
    """
    targets = [target for target in targets if target.kind in deeds.LOOKS]
    if not any(target.kind in deeds.GUESSES for target in targets):
        raise ValueError("no decoy that asks for a password")
    chance = random.Random(seed)
    steps: list[Step] = []
    numbers = iter(range(1, 1 << 30))
    number = 0
    while len(steps) < seconds * rate:
        number += 1
        source = f"{NET}.{number >> 8 & 255}.{number & 255 or 1}"
        manner = KINDS_OF_ATTACKER[chance.choices(range(4), (3, 3, 3, 1))[0]]
        begin = chance.uniform(0, seconds * 0.9)
        for at, deed, target in _manners(manner, targets, begin, seconds, chance):
            mark = f"zz{seed:x}x{next(numbers):06x}q"
            if at <= seconds:
                steps.append(Step(at, deed, target, source, mark, manner))
    steps.sort(key=lambda step: step.at)
    return steps[: max(1, int(seconds * rate))]


def _manners(
    manner: str, targets: Sequence[Target], begin: float, end: float, chance: random.Random
) -> Iterator[tuple[float, Deed, Target]]:
    at = begin
    if manner == "scanner":
        for target in targets:
            yield at, deeds.LOOKS[target.kind], target
            at += 0.02
    elif manner == "brute-forcer":
        target = _one(targets, deeds.GUESSES, chance)
        for _ in range(chance.randrange(8, 24)):
            yield at, deeds.GUESSES[target.kind], target
            at += chance.uniform(0.2, 0.6)
    elif manner == "human":
        target = _one(targets, {"ssh": deeds.ssh_command}, chance)
        for _ in range(chance.randrange(2, 7)):
            session = chance.random() < 0.2
            yield at, deeds.ssh_session if session else deeds.ssh_command, target
            at += chance.expovariate(1 / 3)
    else:
        target = _one(targets, {"http": deeds.http_page}, chance)
        interval = chance.uniform(2, 8)
        while at < end:
            yield at, deeds.http_page, target
            at += interval * chance.uniform(0.95, 1.05)


def _one(targets: Sequence[Target], kinds: dict[str, Deed], chance: random.Random) -> Target:
    fitting = [target for target in targets if target.kind in kinds]
    return chance.choice(fitting or [t for t in targets if t.kind in deeds.GUESSES])


async def send(
    steps: Sequence[Step],
    host: str,
    stopped: asyncio.Event,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Do the deeds, each at its time or as soon after it as there is room.

    Args:
        told: called after each deed.
    """
    tally = Tally(sources={step.source for step in steps})
    room = asyncio.Semaphore(AT_ONCE)
    began = time.monotonic()

    async def do(step: Step) -> None:
        try:
            async with asyncio.timeout(deeds.TALK_SECONDS):
                await step.deed(host, step.target.port, step.source, step.mark)
            tally.done[step.mark] = time.monotonic()
        except (OSError, EOFError, TimeoutError, asyncssh.Error, asyncio.LimitOverrunError) as why:
            tally.failed[step.mark] = f"{step.target.worker}: {why or type(why).__name__}"
        finally:
            room.release()
            told(tally)

    async with asyncio.TaskGroup() as group:
        for step in steps:
            await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
            await room.acquire()
            if stopped.is_set():
                room.release()
                break
            group.create_task(do(step))
    return tally
