"""profiler: a profile of every address, from `logs` alone.

A cursor on `logs.id`; each batch and the profiles that it touches are one transaction, so a kill
at any instant neither loses nor doubles an event. Nothing is kept in memory between two batches:
what a profile needs of the past is in its own row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.profile import Profile, is_attributable
from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, AttackerBehavior, Credential, Log, new_uuid, utc_now

CURSOR = "attacker_worker_cursor"
BATCH = 500
POLL_SECONDS = 5.0
COLUMNS = (
    col(Log.id),
    col(Log.timestamp),
    col(Log.decky),
    col(Log.service),
    col(Log.event_type),
    col(Log.attacker_ip),
    col(Log.fields),
)


@dataclass(frozen=True)
class Scored:
    """A profile that was written; `first` is its first event where it is new."""

    columns: dict[str, Any]
    first: Any | None


async def profile_batch(session: AsyncSession, most: int = BATCH) -> tuple[int, list[Scored]]:
    """Take the next events into their profiles, in the caller's transaction.

    Returns:
        How many events, and the profiles that they changed.
    """
    since = await cursors.get(session, CURSOR, 0)
    statement = select(*COLUMNS).where(col(Log.id) > since).order_by(col(Log.id)).limit(most)
    rows = (await session.execute(statement)).all()
    if not rows:
        return 0, []
    by_ip: dict[str, list[Any]] = {}
    for row in rows:
        if is_attributable(row.attacker_ip):
            by_ip.setdefault(row.attacker_ip, []).append(row)
    scored = await _renew(session, by_ip) if by_ip else []
    await cursors.set(session, CURSOR, rows[-1].id)
    return len(rows), scored


async def _renew(session: AsyncSession, by_ip: dict[str, list[Any]]) -> list[Scored]:
    known = await _known(session, list(by_ip))
    now = utc_now()
    attackers, behaviors, scored = [], [], []
    for ip, events in by_ip.items():
        attacker, behavior = known.get(ip, (None, None))
        if attacker is None:
            profile = Profile(ip, events[0].timestamp, events[0].timestamp)
        else:
            profile = Profile.of_rows(attacker, behavior)
        for event in events:
            profile.add(event)
        uuid = new_uuid() if attacker is None else attacker.uuid
        columns = {
            "uuid": uuid,
            **profile.attacker_columns(),
            "credential_count": 0 if attacker is None else attacker.credential_count,
            "updated_at": now,
        }
        attackers.append((columns, profile.has_secrets))
        behaviors.append({"attacker_uuid": uuid, **profile.behavior_columns(), "updated_at": now})
        scored.append(Scored(columns, events[0] if attacker is None else None))
    await _upsert(session, Attacker, [columns for columns, _ in attackers], "ip", "uuid")
    await _upsert(session, AttackerBehavior, behaviors, "attacker_uuid")
    for columns, has_secrets in attackers:
        if has_secrets:
            await _claim_credentials(session, columns)
    return scored


async def _known(session: AsyncSession, ips: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    statement = (
        select(Attacker, AttackerBehavior)
        .outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
        .where(col(Attacker.ip).in_(ips))
    )
    rows = (await session.execute(statement)).all()
    return {attacker.ip: (attacker, behavior) for attacker, behavior in rows}


async def _upsert(
    session: AsyncSession, table: type[Any], rows: list[dict[str, Any]], key: str, *keep: str
) -> None:
    """Write the rows; on a known key all columns but the key and `keep` take the new values."""
    renewed = [name for name in rows[0] if name not in (key, *keep)]
    # In pieces: a statement has a limit of parameters.
    for at in range(0, len(rows), 100):
        await session.execute(
            upsert(session, table, rows[at : at + 100], key=[key], update=renewed)
        )


async def _claim_credentials(session: AsyncSession, columns: dict[str, Any]) -> None:
    """Give the address's new credentials their attacker; so many more does it have."""
    claim = (
        update(Credential)
        .where(
            col(Credential.attacker_ip) == columns["ip"], col(Credential.attacker_uuid).is_(None)
        )
        .values(attacker_uuid=columns["uuid"])
    )
    result = await session.execute(claim)
    assert isinstance(result, CursorResult)
    if result.rowcount > 0:
        columns["credential_count"] += result.rowcount
        await session.execute(
            update(Attacker)
            .where(col(Attacker.uuid) == columns["uuid"])
            .values(credential_count=columns["credential_count"])
        )


async def measure_lag(session: AsyncSession) -> int:
    """Events behind the cursor, roughly: ids may have holes."""
    last = await session.scalar(select(func.max(col(Log.id)))) or 0
    return int(last - await cursors.get(session, CURSOR, 0))


def publish(ctx: Context, scored: list[Scored]) -> None:
    """Hints, after the commit."""
    for one in scored:
        if one.first is not None:
            ctx.bus.publish(
                topics.ATTACKER_OBSERVED,
                {
                    "attacker_ip": one.columns["ip"],
                    "decky": one.first.decky,
                    "service": one.first.service,
                    "event_type": one.first.event_type,
                    "first_seen": one.columns["first_seen"].isoformat(),
                },
            )
        names = (
            *("event_count", "service_count", "decky_count", "credential_count"),
            "is_traversal",
        )
        ctx.bus.publish(
            topics.ATTACKER_SCORED,
            {
                "attacker_ip": one.columns["ip"],
                "bounty_count": 0,
                **{name: one.columns[name] for name in names},
            },
        )


async def main(ctx: Context) -> None:
    """Profile until told to stop."""
    wake = await ctx.wake(topics.SYSTEM_LOG)
    ctx.health |= {"profiled": 0, "lag": 0}
    ctx.ready("following logs")
    while not ctx.stopping.is_set():
        ctx.progress()
        async with ctx.db.session() as session:
            ctx.health["lag"] = await measure_lag(session)
        if ctx.health["lag"] <= 0:
            await wake.wait(POLL_SECONDS)
            continue
        count, scored = await ctx.write(profile_batch)
        ctx.health["profiled"] += count
        publish(ctx, scored)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("profiler", main)


if __name__ == "__main__":
    run()
