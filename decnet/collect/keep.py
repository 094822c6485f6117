"""Loot and attachments of a batch into the database, in the batch's own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.collect.loot import (
    PROBE_RELAY,
    Attachment,
    Loot,
    Mail,
    attachments_of,
    loot_of,
    mail_of,
)
from decnet.collect.record import Record
from decnet.db.base import new_uuid
from decnet.db.dialect import upsert
from decnet.db.tables import Bounty, ObservedAttachment

SUBJECT_MOST = 256
EXTENSIONS_MOST = 16
PIECE = 100
"""Rows a statement: it has a limit of parameters."""


@dataclass(frozen=True)
class Kept:
    """What was new, for those who are to be told."""

    mails: tuple[tuple[Mail, dict[str, int]], ...]
    """Each mail, and how often each of its attachments was seen up to now."""
    relay_probes: tuple[dict[str, str], ...]


async def keep(session: AsyncSession, records: Sequence[Record]) -> Kept:
    """Store it, in the caller's transaction."""
    found = [(record, loot) for record in records for loot in loot_of(record)]
    new = await _keep_loot(session, found) if found else []
    seen = [(record, one) for record in records for one in attachments_of(record)]
    counts = await _keep_attachments(session, seen) if seen else {}
    mails = [mail for record in records if (mail := mail_of(record)) is not None]
    return Kept(
        tuple((mail, {a.sha256: counts[a.sha256] for a in mail.attachments}) for mail in mails),
        tuple(_probe(record) for record, loot in new if loot.bounty_type == PROBE_RELAY),
    )


async def _keep_loot(
    session: AsyncSession, found: list[tuple[Record, Loot]]
) -> list[tuple[Record, Loot]]:
    """Insert what is not there yet; what was."""
    by_key = {pair[1].key: pair for pair in reversed(found)}
    keys = list(by_key)
    for at in range(0, len(keys), PIECE):
        statement = select(col(Bounty.key)).where(col(Bounty.key).in_(keys[at : at + PIECE]))
        for (key,) in (await session.execute(statement)).all():
            del by_key[str(key)]
    new = [pair for pair in found if by_key.get(pair[1].key) is pair]
    rows = [
        {
            "timestamp": record.timestamp,
            "decky": record.decky,
            "service": record.service,
            "attacker_ip": record.attacker_ip,
            "bounty_type": loot.bounty_type,
            "payload": loot.payload,
            "key": loot.key,
        }
        for record, loot in new
    ]
    for at in range(0, len(rows), PIECE):
        await session.execute(upsert(session, Bounty, rows[at : at + PIECE], key=["key"]))
    return new


async def _keep_attachments(
    session: AsyncSession, seen: list[tuple[Record, Attachment]]
) -> dict[str, int]:
    """Upsert by hash; how often each was seen, this time included."""
    hashes = list(dict.fromkeys(one.sha256 for _, one in seen))
    known: dict[str, Any] = {}
    for at in range(0, len(hashes), PIECE):
        columns = (
            col(ObservedAttachment.sha256),
            col(ObservedAttachment.observation_count),
            col(ObservedAttachment.extensions),
        )
        statement = select(*columns).where(
            col(ObservedAttachment.sha256).in_(hashes[at : at + PIECE])
        )
        known |= {row.sha256: row for row in (await session.execute(statement)).all()}
    rows: dict[str, dict[str, Any]] = {}
    for record, one in seen:
        old = known.get(one.sha256)
        row = rows.setdefault(
            one.sha256,
            {
                "uuid": new_uuid(),
                "sha256": one.sha256,
                "first_seen": record.timestamp,
                "last_seen": record.timestamp,
                "observation_count": 0 if old is None else old.observation_count,
                "size_bytes": one.size_bytes,
                "first_decky": record.decky,
                "first_attacker_ip": record.attacker_ip,
                "extensions": [] if old is None else old.extensions,
                "first_subject": record.fields.get("subject", "")[:SUBJECT_MOST] or None,
            },
        )
        row["observation_count"] += 1
        row["last_seen"] = max(row["last_seen"], record.timestamp)
        named = row["extensions"]
        if one.extension and one.extension not in named and len(named) < EXTENSIONS_MOST:
            row["extensions"] = [*named, one.extension]
    renewed: dict[str, Any] = {
        name: literal_column(f"excluded.{name}")
        for name in ("last_seen", "observation_count", "extensions")
    }
    values = list(rows.values())
    for at in range(0, len(values), PIECE):
        await session.execute(
            upsert(
                session,
                ObservedAttachment,
                values[at : at + PIECE],
                key=["sha256"],
                update=renewed,
            )
        )
    return {sha256: row["observation_count"] for sha256, row in rows.items()}


def _probe(record: Record) -> dict[str, str]:
    fields = record.fields
    return {
        "decky": record.decky,
        "attacker_ip": record.attacker_ip,
        "stored_as": fields.get("stored_as", ""),
        "mail_from": fields.get("mail_from", ""),
        "rcpt_to": fields.get("rcpt_to", ""),
    }
