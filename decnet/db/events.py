"""What happened: one row an event, append-only, in the order in which it was committed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText


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
    """What an attacker left: fingerprint, credential, artifact, ip_leak, probe_relay."""

    __tablename__ = "bounty"
    __table_args__ = (
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
