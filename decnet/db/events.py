"""What happened: one row an event, append-only, in the order in which it was committed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid


class Log(SQLModel, table=True):
    """One line of a decoy. `id` grows with each row, so it serves as cursor and Last-Event-ID."""

    __tablename__ = "logs"
    __table_args__ = (
        Index(None, "attacker_ip", "id"),
        Index(None, "decky", "id"),
        Index(None, "event_type", "id"),
        # Without it SQLite gives the id of a deleted last row again, and a cursor skips it.
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    timestamp: dt.datetime = Field(index=True)
    decky: str
    service: str
    event_type: str
    attacker_ip: str
    raw_line: str = Field(sa_type=Text)
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    msg: str | None = Field(default=None, sa_type=Text)
    trace_id: str | None = None
    span_id: str | None = None


class Bounty(SQLModel, table=True):
    """What an attacker left: fingerprint, credential, artifact, ip_leak, probe_relay.

    `key` is a hash of what makes two finds the same one (address, type, value): the second is
    not stored. A writer that wants every find leaves it NULL.
    """

    __tablename__ = "bounty"
    __table_args__ = (
        Index("uq_bounty_key", "key", unique=True),
        Index(None, "attacker_ip", "id"),
        Index(None, "bounty_type", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    timestamp: dt.datetime
    decky: str
    service: str
    attacker_ip: str
    bounty_type: str
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    key: str | None = None


class ObservedAttachment(SQLModel, table=True):
    """A file that somebody sent or left, by its content. Upserted by `sha256`.

    The `mal_hash_*` columns say what a list of known malware says; NULL means: not asked yet.
    """

    __tablename__ = "observed_attachments"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    sha256: str = Field(unique=True)
    first_seen: dt.datetime
    last_seen: dt.datetime = Field(index=True)
    observation_count: int = 1
    size_bytes: int = 0
    first_decky: str
    first_attacker_ip: str
    extensions: list[str] = Field(default_factory=list, sa_type=JsonText)
    first_subject: str | None = Field(default=None, sa_type=Text)
    mal_hash_match: bool | None = Field(default=None, index=True)
    mal_hash_source: str | None = None
    mal_hash_checked_at: dt.datetime | None = None
