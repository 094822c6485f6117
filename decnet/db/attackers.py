"""Who visits: a row an address, what it did in sums, and how it behaves."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid, utc_now


class Attacker(SQLModel, table=True):
    """An attacking address, its sums over `logs`, and what was learnt of it. Upserted by `ip`."""

    __tablename__ = "attackers"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    ip: str = Field(unique=True)
    identity_id: str | None = Field(default=None, index=True)
    first_seen: dt.datetime
    last_seen: dt.datetime = Field(index=True)
    event_count: int = 0
    service_count: int = 0
    decky_count: int = 0
    bounty_count: int = 0
    credential_count: int = 0
    services: list[str] = Field(default_factory=list, sa_type=JsonText)
    deckies: list[str] = Field(default_factory=list, sa_type=JsonText)
    traversal_path: list[str] = Field(default_factory=list, sa_type=JsonText)
    is_traversal: bool = False
    fingerprints: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonText)
    commands: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonText)
    country_code: str | None = None
    asn: int | None = None
    as_name: str | None = None
    bgp_prefix: str | None = None
    rpki_status: str | None = None
    ptr_record: str | None = None
    rotation_count: int = 0
    updated_at: dt.datetime = Field(default_factory=utc_now, index=True)


class AttackerBehavior(SQLModel, table=True):
    """How an attacker behaves: timing, class, tools. One row an attacker."""

    __tablename__ = "attacker_behavior"

    attacker_uuid: str = Field(primary_key=True, foreign_key="attackers.uuid", ondelete="CASCADE")
    os_guess: str | None = None
    hop_distance: int | None = None
    tcp_fingerprint: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    kex_order_raw: str | None = None
    ssh_client_banners: list[str] = Field(default_factory=list, sa_type=JsonText)
    retransmit_count: int = 0
    behavior_class: str | None = Field(default=None, index=True)
    beacon_interval_s: float | None = None
    beacon_jitter_pct: float | None = None
    tool_guesses: list[str] = Field(default_factory=list, sa_type=JsonText)
    timing_stats: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    phase_sequence: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    updated_at: dt.datetime = Field(default_factory=utc_now)
