"""Step four: secrets that were tried at two or more targets, after a cursor on `credentials.id`.

A secret without a row in `credential_reuse` has had all its tries at one target, so any single
earlier one tells whether a new one is elsewhere: nothing is counted again and again.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.profile import is_attributable
from decnet.bus import topics
from decnet.cluster.merged import Outcome
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, Credential, CredentialReuse, utc_now

CURSOR = "credential_reuse_cursor"
BATCH = 200
LIST_MOST = 64
ROWS_MOST = 1000
"""Credentials of one secret that are read to describe it; of more, the newest."""
PATIENCE = dt.timedelta(seconds=60)
"""How long a credential may wait for the profiler to say whose it is."""
COLUMNS = (
    *(col(Credential.id), col(Credential.secret_sha256), col(Credential.secret_kind)),
    *(col(Credential.principal), col(Credential.attacker_ip), col(Credential.attacker_uuid)),
    *(col(Credential.decky_name), col(Credential.service), col(Credential.attempt_count)),
    *(col(Credential.first_seen), col(Credential.last_seen)),
)
UPDATED = (
    *("principal", "attacker_uuids", "attacker_ips", "deckies", "services", "target_count"),
    *("attempt_count", "confidence", "first_seen", "last_seen"),
)


async def correlate(session: AsyncSession, most: int = BATCH) -> Outcome:
    """Take the next credentials, in the caller's transaction."""
    since = await cursors.get(session, CURSOR, 0)
    statement = (
        select(*COLUMNS).where(col(Credential.id) > since).order_by(col(Credential.id)).limit(most)
    )
    outcome = Outcome()
    fresh: dict[tuple[str, str], list[Any]] = {}
    now = utc_now()
    for row in (await session.execute(statement)).all():
        is_waiting = row.attacker_uuid is None and is_attributable(row.attacker_ip)
        if is_waiting and now - row.last_seen < PATIENCE and not await _is_known(session, row):
            break
        fresh.setdefault((row.secret_sha256, row.secret_kind), []).append(row)
        since = row.id
        outcome.count += 1
    for secret, rows in fresh.items():
        if await _is_reused(session, secret, rows):
            made = await _describe(session, secret)
            await session.execute(
                upsert(
                    session,
                    CredentialReuse,
                    made,
                    key=["secret_sha256", "secret_kind"],
                    update=UPDATED,
                )
            )
            outcome.tell(topics.CREDENTIAL_REUSED, **_payload(made))
    if outcome.count:
        await cursors.set(session, CURSOR, since)
    return outcome


async def _is_known(session: AsyncSession, row: Any) -> bool:
    statement = select(col(Attacker.uuid)).where(col(Attacker.ip) == row.attacker_ip)
    return await session.scalar(statement) is not None


async def _is_reused(session: AsyncSession, secret: tuple[str, str], rows: list[Any]) -> bool:
    targets = {(row.decky_name, row.service) for row in rows}
    if len(targets) > 1:
        return True
    digest, kind = secret
    known = select(col(CredentialReuse.id)).where(
        col(CredentialReuse.secret_sha256) == digest, col(CredentialReuse.secret_kind) == kind
    )
    if await session.scalar(known) is not None:
        return True
    earlier = (
        select(col(Credential.decky_name), col(Credential.service))
        .where(
            *_is_secret(digest, kind),
            col(Credential.id) < rows[0].id,
        )
        .limit(1)
    )
    found = (await session.execute(earlier)).first()
    return found is not None and (found[0], found[1]) not in targets


def _is_secret(digest: str, kind: str) -> tuple[Any, ...]:
    return (col(Credential.secret_sha256) == digest, col(Credential.secret_kind) == kind)


async def _describe(session: AsyncSession, secret: tuple[str, str]) -> dict[str, Any]:
    statement = (
        select(*COLUMNS, col(Attacker.uuid).label("uuid"))
        .outerjoin(Attacker, col(Attacker.ip) == col(Credential.attacker_ip))
        .where(*_is_secret(*secret))
        .order_by(col(Credential.id).desc())
        .limit(ROWS_MOST)
    )
    rows = (await session.execute(statement)).all()
    attempts = sum(row.attempt_count for row in rows)
    if len(rows) == ROWS_MOST:
        attempts = await _more_attempts(session, secret, attempts)
    ips = sorted({row.attacker_ip for row in rows})
    principals = {row.principal for row in rows}
    return {
        "secret_sha256": secret[0],
        "secret_kind": secret[1],
        "principal": principals.pop() if len(principals) == 1 else None,
        "attacker_uuids": sorted({row.uuid for row in rows if row.uuid})[:LIST_MOST],
        "attacker_ips": ips[:LIST_MOST],
        "deckies": sorted({row.decky_name for row in rows})[:LIST_MOST],
        "services": sorted({row.service for row in rows})[:LIST_MOST],
        "target_count": len({(row.decky_name, row.service) for row in rows}),
        "attempt_count": attempts,
        # One hand with one secret at many doors is reuse; a thousand hands have a word list.
        "confidence": round(1 / (1 + math.log2(max(1, len(ips)))), 3),
        "first_seen": min(row.first_seen for row in rows),
        "last_seen": max(row.last_seen for row in rows),
    }


async def _more_attempts(session: AsyncSession, secret: tuple[str, str], attempts: int) -> int:
    """Attempts of a secret with more credentials than are read: never less than before."""
    known = select(col(CredentialReuse.attempt_count)).where(
        col(CredentialReuse.secret_sha256) == secret[0],
        col(CredentialReuse.secret_kind) == secret[1],
    )
    return max(attempts, int(await session.scalar(known) or 0) + 1)


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name].isoformat() for name in ("first_seen", "last_seen")}
    return {**row, **times}
