"""Step one: from `logs` to `cluster_evidence`, after a durable cursor."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.profile import is_attributable
from decnet.cluster.keys import KEYS_MOST, keys_of, kind_of
from decnet.cluster.merged import chunks
from decnet.db import cursors
from decnet.db.tables import AttackerIdentity, ClusterEvidence, ClusterKey, Log

CURSOR = "cluster_log_cursor"
LIMIT_KEY = "cluster_bucket_most"
BATCH = 500


async def gather(session: AsyncSession, most: int = BATCH) -> int:
    """Note what the next events show, in the caller's transaction; how many events."""
    since = await cursors.get(session, CURSOR, 0)
    statement = (
        select(
            *(col(Log.id), col(Log.service), col(Log.event_type)),
            *(col(Log.attacker_ip), col(Log.fields)),
        )
        .where(col(Log.id) > since)
        .order_by(col(Log.id))
        .limit(most)
    )
    rows = (await session.execute(statement)).all()
    if not rows:
        return 0
    shown: dict[str, dict[str, None]] = {}
    for row in rows:
        if is_attributable(row.attacker_ip):
            found = keys_of(row.service, row.event_type, row.fields or {})
            if found:
                # The first ones count, so the order of `logs` decides and not that of batches.
                shown.setdefault(row.attacker_ip, {}).update(dict.fromkeys(sorted(found)))
    if shown:
        await _add(session, shown)
    await cursors.set(session, CURSOR, rows[-1].id)
    return len(rows)


async def _add(session: AsyncSession, shown: dict[str, dict[str, None]]) -> None:
    known: dict[str, set[str]] = {}
    for part in chunks(list(shown)):
        statement = select(col(ClusterEvidence.attacker_ip), col(ClusterEvidence.key)).where(
            col(ClusterEvidence.attacker_ip).in_(part)
        )
        for ip, key in await session.execute(statement):
            known.setdefault(ip, set()).add(key)
    rows = []
    for ip, keys in shown.items():
        has = known.get(ip, set())
        counts = Counter(map(kind_of, has))
        for key in keys:
            kind = kind_of(key)
            if key not in has and counts[kind] < KEYS_MOST:
                counts[kind] += 1
                rows.append({"key": key, "attacker_ip": ip, "kind": kind, "placed": False})
    if rows:
        await session.execute(insert(ClusterEvidence), rows)


async def skip_one(session: AsyncSession) -> None:
    """Set one event aside that nothing can be made of: the cursor goes past it."""
    since = await cursors.get(session, CURSOR, 0)
    following = await session.scalar(select(func.min(col(Log.id))).where(col(Log.id) > since))
    if following is not None:
        await cursors.set(session, CURSOR, following)


async def measure_lag(session: AsyncSession) -> int:
    """Events behind the cursor, roughly: ids may have holes."""
    last = await session.scalar(select(func.max(col(Log.id)))) or 0
    return int(last - await cursors.get(session, CURSOR, 0))


async def adopt_limit(session: AsyncSession, bucket_most: int) -> bool:
    """Where the limit is another than last time: place all evidence anew. True if so."""
    before = await cursors.get(session, LIMIT_KEY)
    if before == bucket_most:
        return False
    await cursors.set(session, LIMIT_KEY, bucket_most)
    if before is None:
        return False
    await session.execute(update(ClusterEvidence).values(placed=False))
    await session.execute(delete(ClusterKey))
    await session.execute(
        update(AttackerIdentity)
        .where(col(AttackerIdentity.merged_into_uuid).is_(None))
        .values(review=True)
    )
    return True
