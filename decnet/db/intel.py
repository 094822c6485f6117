"""What is learnt of attackers: from lists and services (intel), from their keys (observations)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid, utc_now


class AttackerIntel(SQLModel, table=True):
    """What lists and services know of an address. One row an attacker, renewed when it expires."""

    __tablename__ = "attacker_intel"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    attacker_uuid: str = Field(unique=True, foreign_key="attackers.uuid", ondelete="CASCADE")
    attacker_ip: str = Field(index=True)
    greynoise_classification: str | None = None
    greynoise_noise: bool | None = None
    greynoise_riot: bool | None = None
    greynoise_name: str | None = None
    abuseipdb_score: int | None = None
    abuseipdb_categories: list[int] = Field(default_factory=list, sa_type=JsonText)
    abuseipdb_reports: int | None = None
    feodo_listed: bool | None = None
    feodo_malware: str | None = None
    feodo_last_online: str | None = None
    threatfox_listed: bool | None = None
    threatfox_malware: str | None = None
    threatfox_threat_type: str | None = None
    threatfox_confidence: int | None = None
    blocklists: list[str] = Field(default_factory=list, sa_type=JsonText)
    providers: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    """provider -> {verdict, error, at, due, tries}: who said what, and when it is asked again."""
    aggregate_verdict: str = Field(default="unknown", index=True)
    cached_at: dt.datetime
    expires_at: dt.datetime = Field(index=True)


class Observation(SQLModel, table=True):
    """One trait of one session, as a typed value. Its id is made of session and primitive."""

    __tablename__ = "observations"
    __table_args__ = (
        Index(None, "attacker_uuid", "primitive", "ts"),
        Index(None, "identity_ref", "primitive", "ts"),
    )

    id: str = Field(primary_key=True)
    attacker_uuid: str = Field(foreign_key="attackers.uuid", ondelete="CASCADE")
    identity_ref: str | None = None
    primitive: str
    value: Any = Field(default=None, nullable=True, sa_type=JsonText)
    confidence: float
    window_start_ts: dt.datetime
    window_end_ts: dt.datetime
    source: str
    evidence_ref: str = Field(sa_type=Text)
    envelope_v: int = 1
    ts: dt.datetime = Field(default_factory=utc_now, index=True)


class SmtpTarget(SQLModel, table=True):
    """A domain that an attacker tried to send mail to; never an address."""

    __tablename__ = "smtp_targets"
    __table_args__ = (UniqueConstraint("attacker_uuid", "domain", name="uq_smtp_targets_key"),)

    id: int | None = Field(default=None, primary_key=True)
    attacker_uuid: str = Field(foreign_key="attackers.uuid", ondelete="CASCADE")
    domain: str = Field(index=True)
    first_seen: dt.datetime
    last_seen: dt.datetime
    count: int = 1


class AttackerPlace(SQLModel, table=True):
    """A decky or service beyond those that fit into the attacker's row: keeps its counts true."""

    __tablename__ = "attacker_places"

    attacker_uuid: str = Field(primary_key=True, foreign_key="attackers.uuid", ondelete="CASCADE")
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
