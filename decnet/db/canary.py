"""Bait with a bell: the files, their tokens, and every time that a bell rang."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid, utc_now


class CanaryBlob(SQLModel, table=True):
    """A file that somebody gave to be baited; its bytes lie in the artifacts folder by hash."""

    __tablename__ = "canary_blobs"

    sha256: str = Field(primary_key=True)
    filename: str
    content_type: str
    size: int
    created_at: dt.datetime = Field(default_factory=utc_now)


class CanaryToken(SQLModel, table=True):
    """One token: `callback_token` is the slug in its URL and its DNS name."""

    __tablename__ = "canary_tokens"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    name: str
    kind: str
    """http, dns or aws_passive."""
    decky_name: str | None = None
    generator: str | None = None
    instrumenter: str | None = None
    blob_sha256: str | None = Field(
        default=None, foreign_key="canary_blobs.sha256", ondelete="SET NULL", index=True
    )
    placement_path: str | None = None
    callback_token: str = Field(unique=True)
    state: str = Field(default="planted", index=True)
    """planted, revoked or failed."""
    revoked_reason: str | None = None
    trigger_count: int = 0
    fingerprint_nonce: str
    created_at: dt.datetime = Field(default_factory=utc_now, index=True)
    revoked_at: dt.datetime | None = Field(default=None, index=True)
    last_triggered_at: dt.datetime | None = None


class CanaryTrigger(SQLModel, table=True):
    """One ring. `hit_id` was made when it rang, so a hit that is stored again is the same row."""

    __tablename__ = "canary_triggers"
    __table_args__ = (
        Index(None, "token_uuid", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    hit_id: str = Field(unique=True)
    token_uuid: str = Field(foreign_key="canary_tokens.uuid", ondelete="CASCADE")
    occurred_at: dt.datetime = Field(index=True)
    src_ip: str = Field(index=True)
    user_agent: str | None = Field(default=None, sa_type=Text)
    request_path: str | None = Field(default=None, sa_type=Text)
    dns_qname: str | None = None
    raw_headers: dict[str, str] = Field(default_factory=dict, sa_type=JsonText)
    fingerprint: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
