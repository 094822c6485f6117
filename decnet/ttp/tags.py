"""Writing tags: whose they are, insert-or-ignore, and which were new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.collect.address import parse_address
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, AttackerIdentity, TtpTag, new_uuid, utc_now
from decnet.ttp.engine import Tag

CHUNK = 50
"""Rows of a statement, for SQLite's limit of parameters; names of an IN list: ten times that."""


@dataclass(frozen=True)
class Written:
    """What a batch came to: rows that were not there before, tags that are nobody's."""

    new: tuple[dict[str, Any], ...]
    unattributed: int


async def write_tags(session: AsyncSession, tags: Sequence[Tag]) -> Written:
    """Insert the tags in the caller's transaction.

    A tag whose attacker or identity is not there (deleted meanwhile) is left out and counted.
    """
    by_uuid: dict[str, Tag] = {}
    for tag in tags:  # the first of equal ones, as it would be over several batches
        by_uuid.setdefault(tag.row["uuid"], tag)
    tags = list(by_uuid.values())
    known = await _attackers(session, {t.attacker_ip for t in tags if t.attacker_ip})
    for tag in tags:
        if tag.may_add_attacker and tag.attacker_ip not in known:
            known |= await _add_attacker(session, tag)
    uuids = await _there(session, Attacker.uuid, (t.row["attacker_uuid"] for t in tags))
    identities = await _there(
        session, AttackerIdentity.uuid, (t.row["identity_uuid"] for t in tags)
    )
    now = utc_now()
    rows = []
    for tag in tags:
        row = {**tag.row, "created_at": now}
        if tag.attacker_ip:
            row["attacker_uuid"] = known.get(tag.attacker_ip)
        elif row["attacker_uuid"] not in uuids:
            row["attacker_uuid"] = None
        if row["identity_uuid"] not in identities:
            row["identity_uuid"] = None
        if row["attacker_uuid"] is not None or row["identity_uuid"] is not None:
            rows.append(row)
    new = await _insert(session, rows)
    return Written(tuple(row for row in rows if row["uuid"] in new), len(tags) - len(rows))


async def count_new(session: AsyncSession, tags: Iterable[Tag]) -> int:
    """How many of the tags are not there yet."""
    wanted = {tag.row["uuid"] for tag in tags}
    return len(wanted) - len(await _there(session, TtpTag.uuid, wanted))


async def _insert(session: AsyncSession, rows: list[dict[str, Any]]) -> set[str]:
    """Insert-or-ignore; the ids of those that were not there."""
    there = await _there(session, TtpTag.uuid, (row["uuid"] for row in rows))
    rows = [row for row in rows if row["uuid"] not in there]
    if not rows:
        return set()
    # One statement for any number of rows: compiled once, not anew for each length of a list.
    statement = upsert(session, TtpTag, {}, key=["uuid"]).returning(col(TtpTag.uuid))
    # Or the ORM makes a statement of its own for each run of rows with the same columns NULL.
    statement = statement.execution_options(render_nulls=True)
    # What comes back was inserted: in PostgreSQL another writer may have been faster.
    return set(await session.scalars(statement, rows))


async def _attackers(session: AsyncSession, ips: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = sorted(ips)
    for at in range(0, len(wanted), 10 * CHUNK):
        statement = select(col(Attacker.ip), col(Attacker.uuid)).where(
            col(Attacker.ip).in_(wanted[at : at + 10 * CHUNK])
        )
        found |= {ip: uuid for ip, uuid in await session.execute(statement)}  # noqa: C416 -- a Row
    return found


async def _add_attacker(session: AsyncSession, tag: Tag) -> dict[str, str]:
    """A row for an address that took a bait and that no decoy saw; the profiler goes on from it."""
    if not parse_address(tag.attacker_ip):
        return {}
    time = tag.row["observed_at"]
    row = {
        "uuid": new_uuid(),
        "ip": tag.attacker_ip,
        "first_seen": time,
        "last_seen": time,
        **dict.fromkeys(("event_count", "service_count", "decky_count"), 0),
        **dict.fromkeys(("bounty_count", "credential_count", "rotation_count"), 0),
        **{name: [] for name in ("services", "deckies", "traversal_path")},
        **{name: [] for name in ("fingerprints", "commands")},
        "is_traversal": False,
        "updated_at": utc_now(),
    }
    await session.execute(upsert(session, Attacker, row, key=["ip"]))
    return await _attackers(session, [tag.attacker_ip])


async def _there(session: AsyncSession, column: Any, values: Iterable[str | None]) -> set[str]:
    wanted = sorted({value for value in values if value})
    found: set[str] = set()
    for at in range(0, len(wanted), 10 * CHUNK):
        statement = select(column).where(column.in_(wanted[at : at + 10 * CHUNK]))
        found.update(await session.scalars(statement))
    return found
