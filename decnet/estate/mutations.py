"""The queue of wanted changes, from request to applied; each step is one transaction.

A row is claimed by writing down what will be done (`applying`, `new_services`). Whoever finds an
`applying` row, its claimer having been killed, does the same thing once more: starting what runs
and stopping what is stopped changes nothing. The line `decky_mutated` is stored in `logs` by the
transaction that marks the row applied, so there is exactly one a mutation.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.collect import rfc5424
from decnet.db.tables import DeckyLifecycle, DeckyMutation, FleetDecky, Log, utc_now
from decnet.decoys.journal import make_line
from decnet.estate.plan import choose_services, is_due

OPEN = ("pending", "applying")
TRIES_MOST = 3
PENDING_MOST = 100
"""Rows that may wait for one decky: more than one is already odd."""


async def request(
    session: AsyncSession,
    host: str,
    decky: str,
    *,
    trigger: str,
    actor: str = "",
    services: Sequence[str] = (),
) -> int | None:
    """Ask for a mutation; gives the row's id, None where one is already waiting for the decky."""
    waiting = await session.scalar(
        select(col(DeckyMutation.id))
        .where(
            col(DeckyMutation.host_uuid) == host,
            col(DeckyMutation.decky_name) == decky,
            col(DeckyMutation.state).in_(OPEN),
        )
        .limit(1)
    )
    if waiting is not None:
        return None
    row = DeckyMutation(
        host_uuid=host,
        decky_name=decky,
        trigger=trigger[:32],
        actor=actor[:64],
        new_services=sorted(services),
    )
    session.add(row)
    await session.flush()
    return row.id


async def is_needed(session: AsyncSession, host: str, now: dt.datetime) -> bool:
    """Whether there is anything to ask for, to refuse or to do. Writes nothing."""
    waiting = await session.scalar(
        select(col(DeckyMutation.id))
        .where(col(DeckyMutation.host_uuid) == host, col(DeckyMutation.state).in_(OPEN))
        .limit(1)
    )
    if waiting is not None:
        return True
    scheduled = await session.scalars(
        select(FleetDecky).where(
            col(FleetDecky.host_uuid) == host, col(FleetDecky.mutate_interval_min) > 0
        )
    )
    return any(
        decky.mutated_at is None or is_due(decky.mutated_at, decky.mutate_interval_min, now)
        for decky in scheduled.all()
    )


async def request_due(session: AsyncSession, host: str, now: dt.datetime) -> int:
    """Ask for the scheduled mutations that have come due; how many."""
    rows = await session.scalars(select(FleetDecky).where(col(FleetDecky.host_uuid) == host))
    asked = 0
    for decky in rows.all():
        if decky.mutated_at is None and decky.mutate_interval_min > 0:
            # The first one is a whole interval away, however often the mutator is restarted.
            decky.mutated_at = now
        elif is_due(decky.mutated_at, decky.mutate_interval_min, now):
            made = await request(session, host, decky.name, trigger="scheduled", actor="mutator")
            asked += made is not None
    return asked


async def claim(
    session: AsyncSession, host: str, chance: random.Random
) -> tuple[DeckyMutation, FleetDecky] | None:
    """The oldest open row of this host, with what is to be done written into it."""
    found = (
        await session.execute(
            select(DeckyMutation, FleetDecky)
            .join(
                FleetDecky,
                (col(FleetDecky.host_uuid) == col(DeckyMutation.host_uuid))
                & (col(FleetDecky.name) == col(DeckyMutation.decky_name)),
            )
            .where(col(DeckyMutation.host_uuid) == host, col(DeckyMutation.state).in_(OPEN))
            .order_by(col(DeckyMutation.id))
            .limit(1)
        )
    ).first()
    if found is None:
        return None
    row, decky = found
    if row.state == "pending":
        row.state = "applying"
        row.old_services = list(decky.services)
        if not row.new_services:
            row.new_services = choose_services(decky.archetype, decky.services, chance)
    row.tries += 1
    return row, decky


async def refuse_orphans(session: AsyncSession, host: str) -> int:
    """Fail requests for deckies that are not there (any more); how many."""
    names = (
        await session.scalars(select(col(FleetDecky.name)).where(col(FleetDecky.host_uuid) == host))
    ).all()
    rows = await session.scalars(
        select(DeckyMutation)
        .where(
            col(DeckyMutation.host_uuid) == host,
            col(DeckyMutation.state).in_(OPEN),
            col(DeckyMutation.decky_name).not_in(names),
        )
        .limit(PENDING_MOST)
    )
    count = 0
    for row in rows.all():
        row.state, row.reason, row.applied_at = "failed", "no such decky on this host", utc_now()
        count += 1
    return count


async def mark_applied(session: AsyncSession, mutation_id: int) -> dict[str, Any] | None:
    """The change is done: decky, queue, history and log line together.

    Returns:
        What to publish; None where somebody else had marked it.
    """
    row = await session.get(DeckyMutation, mutation_id)
    if row is None or row.state != "applying":
        return None
    now = utc_now()
    row.state, row.applied_at, row.reason = "applied", now, None
    decky = await session.get(FleetDecky, (row.host_uuid, row.decky_name))
    if decky is not None:
        decky.services, decky.mutated_at, decky.updated_at = row.new_services, now, now
    for operation, changed in _changes(row):
        session.add(
            DeckyLifecycle(
                decky_name=row.decky_name,
                host_uuid=row.host_uuid,
                operation=f"{operation}:{changed}"[:64],
                status="succeeded",
                started_at=now,
                completed_at=now,
            )
        )
    session.add(_log_line(row, now))
    return {
        "decky": row.decky_name,
        "old_services": row.old_services,
        "new_services": row.new_services,
        "trigger": row.trigger,
        "actor": row.actor,
    }


async def mark_failed(session: AsyncSession, mutation_id: int, reason: str) -> None:
    """Not this time: back to the queue, or given up after `TRIES_MOST`; the decky's error says why.

    A failed row never blocks the ones behind it.
    """
    row = await session.get(DeckyMutation, mutation_id)
    if row is None or row.state != "applying":
        return
    row.reason = reason[:1000]
    if row.tries < TRIES_MOST:
        return
    row.state, row.applied_at = "failed", utc_now()
    decky = await session.get(FleetDecky, (row.host_uuid, row.decky_name))
    if decky is not None:
        decky.last_error, decky.mutated_at = row.reason, utc_now()
        # What really runs now is the reconciler's to find out.
        decky.state = "degraded"


def _changes(row: DeckyMutation) -> list[tuple[str, str]]:
    old, new = set(row.old_services), set(row.new_services)
    return [("service_removed", kind) for kind in sorted(old - new)] + [
        ("service_added", kind) for kind in sorted(new - old)
    ]


def _log_line(row: DeckyMutation, now: dt.datetime) -> Log:
    fields = {
        "mutation_id": str(row.id),
        "old_services": ",".join(row.old_services),
        "new_services": ",".join(row.new_services),
        "trigger": row.trigger,
        "actor": row.actor,
    }
    line = make_line(row.decky_name, "mutator", "decky_mutated", fields, None, rfc5424.INFO, now)
    return Log(
        timestamp=now,
        decky=row.decky_name,
        service="mutator",
        event_type="decky_mutated",
        attacker_ip="Unknown",
        raw_line=line.decode(),
        fields=fields,
    )
