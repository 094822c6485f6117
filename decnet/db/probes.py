"""What the prober learnt of attackers' own machines, and how far it has come with each."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid


class AttackerFingerprintState(SQLModel, table=True):
    """The newest fingerprint of one port by one probe, and how often it has changed."""

    __tablename__ = "attacker_fingerprint_state"
    __table_args__ = (UniqueConstraint("attacker_uuid", "port", "probe_type"),)

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    attacker_uuid: str = Field(foreign_key="attackers.uuid", ondelete="CASCADE")
    port: int
    probe_type: str
    last_hash: str = Field(index=True)
    last_seen: dt.datetime
    rotation_count: int = 0


class ProbeRound(SQLModel, table=True):
    """The visits to one attacker: a claim that a killed prober leaves to the next one.

    `due_at` is NULL while nothing is to be done; `done` holds the "probe:port" of this round that
    need not be tried again, `pending` the events that may not have reached the spool yet.
    """

    __tablename__ = "probe_rounds"

    attacker_uuid: str = Field(primary_key=True, foreign_key="attackers.uuid", ondelete="CASCADE")
    ip: str
    due_at: dt.datetime | None = Field(default=None, index=True)
    lease_until: dt.datetime | None = None
    attempts: int = 0
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    done: list[str] = Field(default_factory=list, sa_type=JsonText)
    pending: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonText)
