"""Who is to be told, what is still to be told, and how the telling went."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from decnet.db.base import METADATA, JsonText, new_uuid, utc_now
from decnet.db.intel import AttackerIntel


class WebhookSubscription(SQLModel, table=True):
    """A receiver. `enabled` is the admin's; `auto_disabled_at` is set after failures in a row."""

    __tablename__ = "webhook_subscriptions"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    name: str = Field(unique=True)
    url: str = Field(sa_type=Text)
    secret: str = Field(repr=False)
    topic_patterns: list[str] = Field(default_factory=list, sa_type=JsonText)
    enabled: bool = True
    concurrency: int = 1
    consecutive_failures: int = 0
    delivered_count: int = 0
    dropped_count: int = 0
    """Events that its full queue had no room for."""
    last_success_at: dt.datetime | None = None
    last_failure_at: dt.datetime | None = None
    last_error: str | None = Field(default=None, sa_type=Text)
    auto_disabled_at: dt.datetime | None = None
    created_at: dt.datetime = Field(default_factory=utc_now)


class WebhookEvent(SQLModel, table=True):
    """An event that somebody wants. The id follows from what happened, so it is stored once."""

    __tablename__ = "webhook_events"

    event_id: str = Field(primary_key=True)
    topic: str
    type: str
    ts: float
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    created_at: dt.datetime = Field(default_factory=utc_now, index=True)


class WebhookOutbox(SQLModel, table=True):
    """One event for one receiver: pending until delivered (then the row goes), or dead."""

    __tablename__ = "webhook_outbox"
    __table_args__ = (
        UniqueConstraint("subscription_uuid", "event_id", name="uq_webhook_outbox_key"),
        Index(None, "subscription_uuid", "state", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    subscription_uuid: str = Field(foreign_key="webhook_subscriptions.uuid", ondelete="CASCADE")
    event_id: str = Field(foreign_key="webhook_events.event_id", ondelete="CASCADE", index=True)
    state: str = "pending"
    """pending or dead."""
    attempts: int = 0
    last_error: str | None = Field(default=None, sa_type=Text)
    updated_at: dt.datetime = Field(default_factory=utc_now)


class WebhookDelivery(SQLModel, table=True):
    """The log of deliveries, the newest of each subscription only."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "subscription_uuid", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    subscription_uuid: str = Field(foreign_key="webhook_subscriptions.uuid", ondelete="CASCADE")
    event_id: str
    topic: str
    at: dt.datetime = Field(default_factory=utc_now)
    outcome: str
    """delivered or failed."""
    attempts: int
    status_code: int | None = None
    duration_ms: float
    error: str | None = Field(default=None, sa_type=Text)


class WebhookMark(SQLModel, table=True):
    """What was last told of an identity or a campaign ("identity:UUID"): the next change is the
    difference. `changes` counts them, and makes their ids."""

    __tablename__ = "webhook_marks"

    key: str = Field(primary_key=True)
    merged_into: str | None = None
    campaign: str | None = None
    changes: int = 0


# The feed of intelligence follows the time of the last answer.
Index("ix_attacker_intel_cached_at", METADATA.tables[str(AttackerIntel.__tablename__)].c.cached_at)
