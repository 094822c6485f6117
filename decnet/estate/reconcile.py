"""What is wanted and what runs, made to agree: the reconciler's three cases.

Running and not in the table: a new decky, inserted. In the table and unknown to the manager
altogether: its decoys are started again, for a manager that was itself started anew knows only the
fleet file. Both: the state comes from the manager, and what failed is started again. A manager
that does not answer says nothing about anybody: `unknown`, never gone. Where somebody deployed
deckies (`decnet.estate.deployment`), what runs beside them is stopped in place of the first case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.db.tables import DeckyLifecycle, FleetDecky, utc_now
from decnet.decoys.catalogue import UnknownDecoy, decky_number
from decnet.estate.manager import Running
from decnet.estate.plan import guess_archetype, judge

HISTORY_MOST = 5000
"""Rows of `decky_lifecycle` that are kept."""


@dataclass(frozen=True)
class Change:
    """A decky's state is another now; published after the commit."""

    decky: str
    state: str
    previous: str
    source: str = "manager"


@dataclass(frozen=True)
class Repair:
    """Decoys to start again, or to stop."""

    decky: str
    number: int
    services: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What one pass found."""

    changes: list[Change]
    repairs: list[Repair]
    deckies: int
    surplus: list[Repair] = field(default_factory=list)
    """What runs and was not deployed."""


async def reconcile(
    session: AsyncSession,
    host: str,
    seen: dict[str, Running] | None,
    *,
    first: str,
    interval_min: int,
    repair: bool,
    deployed: bool = False,
    busy: frozenset[str] = frozenset(),
) -> Outcome:
    """One pass, in the caller's transaction.

    Args:
        seen: what the manager knows by decky; None where it does not answer.
        first: the name of decky 1.
        interval_min: minutes between mutations, for new rows.
        repair: whether failed and missing decoys are started again.
        deployed: whether the rows say which deckies there are, or only what was found.
        busy: deckies that a mutation is changing at this moment: not ours to repair.
    """
    rows = await session.scalars(select(FleetDecky).where(col(FleetDecky.host_uuid) == host))
    known = {row.name: row for row in rows.all()}
    now = utc_now()
    changes, repairs = [], []
    surplus = []
    for name, decky in (seen or {}).items():
        wanted = known[name].services if name in known else []
        extra = tuple(kind for kind in decky.live if kind not in wanted)
        if deployed and extra and repair and name not in busy:
            surplus.append(Repair(name, decky.number, extra))
        if name not in known and decky.live and not deployed:
            known[name] = FleetDecky(
                host_uuid=host,
                name=name,
                archetype=guess_archetype(decky.live),
                services=decky.live,
                mutate_interval_min=interval_min,
                mutated_at=now,
                state="new",
            )
            session.add(known[name])
    for name, row in known.items():
        state, error, broken = _look(row, seen, repair and name not in busy)
        if broken:
            number = _number(name, first)
            if number is not None:
                repairs.append(Repair(name, number, broken))
        if seen is not None:
            row.last_seen = now
        if state != row.state:
            changes.append(Change(name, state, row.state))
            row.state, row.updated_at = state, now
        if row.last_error != error:
            row.last_error = error
    return Outcome(changes, repairs, len(known), surplus)


def _look(
    row: FleetDecky, seen: dict[str, Running] | None, repair: bool
) -> tuple[str, str | None, tuple[str, ...]]:
    if seen is None:
        return "unknown", row.last_error, ()
    running = seen.get(row.name, Running(0))
    verdict = judge(row.services, running.services, running.errors, missing_is_ours=repair)
    return verdict.state, verdict.error, verdict.repair


def _number(name: str, first: str) -> int | None:
    try:
        return decky_number(name, first)
    except UnknownDecoy:
        return None


async def note_repairs(
    session: AsyncSession, host: str, done: list[tuple[Repair, str]], verb: str = "repair"
) -> None:
    """Write down what was started again (or stopped), and what came of it ("" is: it works)."""
    now = utc_now()
    for repair, fault in done:
        session.add(
            DeckyLifecycle(
                decky_name=repair.decky,
                host_uuid=host,
                operation=f"{verb}:{','.join(repair.services)}"[:64],
                status="failed" if fault else "succeeded",
                error=fault or None,
                started_at=now,
                completed_at=now,
            )
        )


def payload(host: str, change: Change) -> dict[str, Any]:
    """What goes over the bus."""
    return {
        "host_uuid": host,
        "name": change.decky,
        "state": change.state,
        "previous_state": change.previous,
        "transition": f"{change.previous}->{change.state}",
        "source": change.source,
    }
