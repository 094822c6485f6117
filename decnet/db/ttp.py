"""ATT&CK techniques: the rules as they are loaded, what operators say of them, and the tags."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, utc_now


class TtpTag(SQLModel, table=True):
    """One technique seen in one source by one rule; `uuid` follows from these, so a repeat is
    no second row. Insert-or-ignore.

    `observed_at` is when it happened, `created_at` when it was found.
    """

    __tablename__ = "ttp_tag"
    __table_args__ = (
        CheckConstraint("attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL", name="whose"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
        Index(None, "attacker_uuid", "technique_id"),
        Index(None, "technique_id", "created_at"),
    )

    uuid: str = Field(primary_key=True)
    source_kind: str
    source_id: str
    attacker_uuid: str | None = Field(
        default=None, foreign_key="attackers.uuid", ondelete="CASCADE"
    )
    identity_uuid: str | None = Field(
        default=None, foreign_key="attacker_identities.uuid", ondelete="CASCADE", index=True
    )
    session_id: str | None = Field(default=None, index=True)
    decky_id: str | None = None
    tactic: str
    technique_id: str
    sub_technique_id: str | None = None
    confidence: float
    rule_id: str = Field(index=True)
    rule_version: int
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    attack_release: str
    mitre_url: str = Field(sa_type=Text)
    observed_at: dt.datetime = Field(index=True)
    created_at: dt.datetime = Field(default_factory=utc_now, index=True)


class TtpRule(SQLModel, table=True):
    """A rule that the worker has loaded; written by it, read by whoever lists rules."""

    __tablename__ = "ttp_rule"

    rule_id: str = Field(primary_key=True)
    rule_version: int
    name: str
    source_path: str = Field(sa_type=Text)
    yaml_content: str = Field(sa_type=Text)
    techniques: list[str] = Field(default_factory=list, sa_type=JsonText)
    loaded_at: dt.datetime = Field(default_factory=utc_now)


class TtpRuleState(SQLModel, table=True):
    """What an operator, or the worker itself, decided of a rule; without a row it is enabled.

    `state`: enabled, disabled, or clipped (confidence at most `confidence_max`). After
    `expires_at` it counts no more.
    """

    __tablename__ = "ttp_rule_state"

    rule_id: str = Field(primary_key=True)
    state: str
    confidence_max: float | None = None
    expires_at: dt.datetime | None = None
    reason: str = Field(default="", sa_type=Text)
    set_by: str = ""
    updated_at: dt.datetime = Field(default_factory=utc_now)
