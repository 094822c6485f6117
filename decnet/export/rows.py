"""The tables that `decnetctl export csv` writes: their columns, and their rows in batches."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select, func, select
from sqlmodel import col

from decnet.db.engine import Database
from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    Credential,
    Log,
    SessionRecording,
    TtpTag,
    utc_now,
)

BATCH = 500
HEADS: dict[str, tuple[str, ...]] = {
    "visits": ("id", "time", "decky", "service", "event", "ip", "fields", "text"),
    "attackers": (
        *("ip", "first_seen", "last_seen", "events", "credentials", "finds", "behaviour"),
        *("country", "asn", "network", "services", "deckies", "identity"),
    ),
    "credentials": (
        *("id", "ip", "decky", "service", "user", "kind", "secret", "secret_sha256"),
        *("outcome", "first_seen", "last_seen", "tries"),
    ),
    "sessions": ("id", "ip", "decky", "service", "user", "start", "end", "seconds", "commands"),
    "techniques": (
        *("time", "ip", "technique", "tactic", "confidence", "rule", "source", "source_id"),
        *("decky", "evidence"),
    ),
}


async def batches(
    db: Database, what: str, ip: str | None, since_days: float | None
) -> AsyncIterator[list[list[Any]]]:
    """Rows of a table, oldest first, some at a time.

    Args:
        what: a key of `HEADS`.
        ip: only of this address.
        since_days: only what is younger.
    """
    statement, key, address, time = QUESTIONS[what]()
    if ip is not None:
        statement = statement.where(col(address) == ip)
    if since_days is not None:
        statement = statement.where(col(time) >= utc_now() - dt.timedelta(days=since_days))
    statement = statement.order_by(col(key)).limit(BATCH)
    last: Any = None
    while True:
        # Each batch is a short read of its own: a long one would keep the write-ahead log growing.
        async with db.session() as session:
            page = statement if last is None else statement.where(col(key) > last)
            rows = (await session.execute(page)).all()
        if rows:
            yield [list(map(_plain, row[1:])) for row in rows]
        if len(rows) < BATCH:
            return
        last = rows[-1][0]


Question = tuple[Select[Any], Any, Any, Any]
"""A statement whose first column is its key; the key, the address, the time."""


def _visits() -> Question:
    columns = (Log.id, Log.timestamp, Log.decky, Log.service, Log.event_type)
    more = (Log.attacker_ip, Log.fields, Log.msg)
    return _select(Log.id, *columns, *more), Log.id, Log.attacker_ip, Log.timestamp


def _attackers() -> Question:
    statement = _select(
        *(Attacker.ip, Attacker.ip, Attacker.first_seen, Attacker.last_seen),
        *(Attacker.event_count, Attacker.credential_count, Attacker.bounty_count),
        *(AttackerBehavior.behavior_class, Attacker.country_code, Attacker.asn),
        *(Attacker.as_name, Attacker.services, Attacker.deckies, Attacker.identity_id),
    ).outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
    return statement, Attacker.ip, Attacker.ip, Attacker.last_seen


def _credentials() -> Question:
    statement = _select(
        *(Credential.id, Credential.id, Credential.attacker_ip, Credential.decky_name),
        *(Credential.service, Credential.principal, Credential.secret_kind),
        *(Credential.secret_printable, Credential.secret_sha256, Credential.outcome),
        *(Credential.first_seen, Credential.last_seen, Credential.attempt_count),
    )
    return statement, Credential.id, Credential.attacker_ip, Credential.last_seen


def _sessions() -> Question:
    table = SessionRecording
    statement = _select(
        *(table.session_id, table.session_id, table.attacker_ip, table.decky, table.service),
        *(table.principal, table.started_at, table.ended_at, table.duration_s, table.commands),
    )
    return statement, table.session_id, table.attacker_ip, table.ended_at


def _techniques() -> Question:
    leaf: Any = func.coalesce(col(TtpTag.sub_technique_id), col(TtpTag.technique_id))
    statement = (
        select(col(TtpTag.uuid), col(TtpTag.observed_at), col(Attacker.ip), leaf)
        .add_columns(
            *map(col, (TtpTag.tactic, TtpTag.confidence, TtpTag.rule_id, TtpTag.source_kind)),
            *map(col, (TtpTag.source_id, TtpTag.decky_id, TtpTag.evidence)),
        )
        .outerjoin(Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid))
    )
    return statement, TtpTag.uuid, Attacker.ip, TtpTag.observed_at


QUESTIONS = {
    "visits": _visits,
    "attackers": _attackers,
    "credentials": _credentials,
    "sessions": _sessions,
    "techniques": _techniques,
}


def _select(*columns: Any) -> Select[Any]:
    return select(*(col(column) for column in columns))


def _plain(value: Any) -> Any:
    """As a cell shows it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
