"""What a decky is to become. Pure: states in, decisions out."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from decnet.decoys.catalogue import ARCHETYPES, KINDS

SERVICES_MOST = 3
LIVE = frozenset(("starting", "up", "ready"))
"""States, in the manager's words, of a decoy that runs or is about to."""


def pool_of(archetype: str) -> tuple[str, ...]:
    """The services that a decky of this archetype may show; all kinds for an unknown one."""
    known = ARCHETYPES.get(archetype)
    return known.services if known else tuple(KINDS)


def guess_archetype(services: Collection[str]) -> str:
    """The archetype whose pool fits the services best; "" where none holds all of them.

    An archetype that lacks one of them would lose it for ever at the first mutation.
    """
    wanted = set(services)
    fitting = [a for a in ARCHETYPES.values() if wanted <= set(a.services)]
    return min(fitting, key=lambda a: (len(a.services), a.name)).name if fitting else ""


def choose_services(archetype: str, current: Collection[str], chance: random.Random) -> list[str]:
    """A set of services other than the current one, from the archetype's pool, sorted.

    A decky of an archetype shows one to three; one without keeps its number of services, give or
    take one. Where the pool allows no other set, the current one comes back.
    """
    pool = sorted(pool_of(archetype))
    now = set(current)
    if archetype in ARCHETYPES:
        counts = list(range(1, min(SERVICES_MOST, len(pool)) + 1))
    else:
        counts = [n for n in (len(now) - 1, len(now), len(now) + 1) if 1 <= n <= len(pool)]
    for _ in range(64):
        choice = set(chance.sample(pool, chance.choice(counts)))
        if choice != now:
            return sorted(choice)
    return sorted(now)


def is_due(mutated_at: dt.datetime | None, minutes: int, now: dt.datetime) -> bool:
    """Whether a decky's next scheduled mutation has come; 0 minutes is never."""
    if minutes <= 0 or mutated_at is None:
        return False
    return now - mutated_at >= dt.timedelta(minutes=minutes)


@dataclass(frozen=True)
class Verdict:
    """What the reconciler makes of a decky: its state, and services to start again."""

    state: str
    repair: tuple[str, ...] = ()
    error: str | None = None


def judge(
    wanted: Sequence[str],
    running: dict[str, str],
    errors: dict[str, str],
    *,
    missing_is_ours: bool,
) -> Verdict:
    """Compare what is wanted of a decky with what runs.

    Args:
        running: service -> the manager's state.
        errors: service -> what the manager says went wrong.
        missing_is_ours: start again what is failed or unknown to the manager (after it was
            itself started anew). What somebody stopped by hand ("inactive") is left alone.
    """
    live = {kind for kind, state in running.items() if state in LIVE}
    coming = {kind for kind, state in running.items() if state == "backoff"}
    down = [kind for kind in wanted if kind not in live]
    repair = tuple(
        kind
        for kind in down
        if missing_is_ours and running.get(kind, "missing") in ("missing", "failed")
    )
    error = next((errors[kind] for kind in down if kind in errors), None)
    if not down:
        return Verdict("running")
    if all(running.get(kind) == "inactive" for kind in wanted):
        return Verdict("stopped", repair, error)
    if live or coming:
        return Verdict("degraded", repair, error)
    return Verdict("failed", repair, error)
