"""Which workers move next to a new generation. Pure: from what is so, to the next steps.

A move is one of two:

- BESIDE: a successor is started beside the process that runs, which goes when that is ready. For
  workers that say that two of them may run at once (`overlap`). At most `max_surge` at a time.
- AFTER: the process is stopped, and its successor started. For all others, and for those for which
  there is no memory to have them twice. At most `max_unavailable` at a time, but always one, where
  nothing else moves: a worker that may not run twice could not be moved otherwise.

All of them together are at most max_surge + max_unavailable, and at least one. A worker moves
when all that it comes `after` have moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """How far a worker is."""

    WAITING = "waiting"
    UNSETTLED = "unsettled"
    """It is about to start, or to end: it moves once that is decided, or need not."""
    MOVING = "moving"
    MOVED = "moved"
    LEFT = "left"
    """It does not run: its next start is from the new generation anyhow."""


class How(Enum):
    """How a worker moves."""

    BESIDE = "beside"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Member:
    """One worker of the move.

    Attributes:
        overlap: two of it may run at once.
        fits: there is memory to have it twice.
        how: of one that is moving.
    """

    name: str
    stage: Stage = Stage.WAITING
    after: tuple[str, ...] = ()
    overlap: bool = False
    fits: bool = True
    how: How = How.AFTER


@dataclass(frozen=True, slots=True)
class Limits:
    """How many may be on the move; see the module's docstring."""

    max_surge: int = 1
    max_unavailable: int = 0


def next_moves(members: Iterable[Member], limits: Limits) -> list[tuple[str, How]]:
    """The moves to begin now, in order. None, and none under way: it is done, or must wait."""
    every = {member.name: member for member in members}
    moving = [member.how for member in every.values() if member.stage is Stage.MOVING]
    most = max(1, limits.max_surge + limits.max_unavailable)
    chosen: list[tuple[str, How]] = []
    for member in every.values():
        if len(moving) >= most:
            break
        if member.stage is not Stage.WAITING or not _may(member, every):
            continue
        beside = member.overlap and member.fits and limits.max_surge > 0
        how = How.BESIDE if beside else How.AFTER
        room = limits.max_surge if beside else max(1, limits.max_unavailable)
        if moving.count(how) < room:
            moving.append(how)
            chosen.append((member.name, how))
    return chosen


def is_done(members: Iterable[Member]) -> bool:
    """Whether all that can be moved have been."""
    return all(member.stage in (Stage.MOVED, Stage.LEFT) for member in members)


def _may(member: Member, every: Mapping[str, Member]) -> bool:
    """Whether what it comes after has moved, as far as that moves at all."""
    needs = (every[name] for name in member.after if name in every)
    return all(need.stage in (Stage.MOVED, Stage.LEFT) for need in needs)
