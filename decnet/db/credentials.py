"""Secrets that attackers tried."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText

CREDENTIAL_KEY = (
    "attacker_ip",
    "decky_name",
    "service",
    "principal",
    "secret_kind",
    "secret_sha256",
)
"""The natural key: a secret tried again from the same address at the same place is one row."""


class Credential(SQLModel, table=True):
    """One secret by one address at one service; `attempt_count` counts. Upserted by its key."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint(*CREDENTIAL_KEY, name="uq_credentials_key"),
        Index(None, "secret_sha256", "secret_kind"),
    )

    id: int | None = Field(default=None, primary_key=True)
    attacker_ip: str
    attacker_uuid: str | None = Field(
        default=None, foreign_key="attackers.uuid", ondelete="SET NULL", index=True
    )
    decky_name: str
    service: str
    # Not NULL: NULLs are never equal, the key would not hold.
    principal: str = ""
    secret_kind: str = "plaintext"
    secret_sha256: str
    secret_b64: str = Field(sa_type=Text)
    secret_printable: str = Field(default="", sa_type=Text)
    outcome: str | None = None
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    first_seen: dt.datetime
    last_seen: dt.datetime = Field(index=True)
    attempt_count: int = 1
