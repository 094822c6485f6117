"""Who is behind the addresses: identities, campaigns, what the same hands use again and again.

An identity that turned out to be a part of another keeps its row and points at the winner with
`merged_into_uuid`; when later evidence splits them the pointer is taken back. The same holds for
campaigns. A reader follows pointers with `decnet.cluster.merged.resolve`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid, utc_now


class Campaign(SQLModel, table=True):
    """Identities that work together. One with an `identity_count` of 0 was dissolved."""

    __tablename__ = "campaigns"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime = Field(index=True)
    confidence: float = 0.0
    identity_count: int = 0
    payload_hashes: list[str] = Field(default_factory=list, sa_type=JsonText)
    c2_endpoints: list[str] = Field(default_factory=list, sa_type=JsonText)
    merged_into_uuid: str | None = Field(default=None, foreign_key="campaigns.uuid", index=True)
    notes: str | None = Field(default=None, sa_type=Text)
    review: bool = Field(default=False, index=True)
    """Set where an edge may be gone: its identities are to be partitioned anew."""
    updated_at: dt.datetime = Field(default_factory=utc_now)


class AttackerIdentity(SQLModel, table=True):
    """One actor behind `observation_count` addresses (rows of `attackers`)."""

    __tablename__ = "attacker_identities"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    campaign_id: str | None = Field(default=None, foreign_key="campaigns.uuid", index=True)
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime = Field(index=True)
    confidence: float = 0.0
    observation_count: int = 0
    ja3_hashes: list[str] = Field(default_factory=list, sa_type=JsonText)
    hassh_hashes: list[str] = Field(default_factory=list, sa_type=JsonText)
    ja4_hashes: list[str] = Field(default_factory=list, sa_type=JsonText)
    payload_hashes: list[str] = Field(default_factory=list, sa_type=JsonText)
    c2_endpoints: list[str] = Field(default_factory=list, sa_type=JsonText)
    kd_digraph_simhash: str | None = None
    merged_into_uuid: str | None = Field(
        default=None, foreign_key="attacker_identities.uuid", index=True
    )
    notes: str | None = Field(default=None, sa_type=Text)
    review: bool = Field(default=False, index=True)
    """Set where an edge may be gone: its addresses are to be partitioned anew."""
    campaign_dirty: bool = Field(default=True, index=True)
    """Set by whoever changes what campaigns are made of; cleared by the campaign clusterer."""
    updated_at: dt.datetime = Field(default_factory=utc_now)


class CredentialReuse(SQLModel, table=True):
    """A secret that was tried at two or more targets (decky and service). Lists are bounded."""

    __tablename__ = "credential_reuse"
    __table_args__ = (UniqueConstraint("secret_sha256", "secret_kind"),)

    id: int | None = Field(default=None, primary_key=True)
    secret_sha256: str
    secret_kind: str
    principal: str | None = None
    """The one name it was tried with; NULL where there were several."""
    attacker_uuids: list[str] = Field(default_factory=list, sa_type=JsonText)
    attacker_ips: list[str] = Field(default_factory=list, sa_type=JsonText)
    deckies: list[str] = Field(default_factory=list, sa_type=JsonText)
    services: list[str] = Field(default_factory=list, sa_type=JsonText)
    target_count: int = 0
    attempt_count: int = 0
    confidence: float = 0.0
    first_seen: dt.datetime
    last_seen: dt.datetime = Field(index=True)


class AttributionState(SQLModel, table=True):
    """How steady one habit of an identity is."""

    __tablename__ = "attribution_state"

    identity_uuid: str = Field(
        primary_key=True, foreign_key="attacker_identities.uuid", ondelete="CASCADE"
    )
    primitive: str = Field(primary_key=True)
    current_value: Any = Field(default=None, sa_type=JsonText, nullable=True)
    state: str = Field(default="unknown", index=True)
    confidence: float = 0.0
    observation_count: int = 0
    last_change_ts: dt.datetime = Field(default_factory=utc_now)
    alarmed: bool = False
    """Whether the suspicion of several actors was told."""


__all__ = ["AttackerIdentity", "AttributionState", "Campaign", "CredentialReuse"]
