"""The estate: which deckies are wanted, what changes them, and what makes them look lived in."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText, new_uuid, utc_now


class FleetDecky(SQLModel, table=True):
    """A decky of a host as it is wanted (`services`), and as it was last seen (`state`)."""

    __tablename__ = "fleet_deckies"

    host_uuid: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    archetype: str = ""
    services: list[str] = Field(default_factory=list, sa_type=JsonText)
    decky_config: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)
    decky_ip: str | None = None
    state: str = "unknown"
    last_error: str | None = None
    mutate_interval_min: int = 30
    mutated_at: dt.datetime | None = None
    last_seen: dt.datetime | None = None
    updated_at: dt.datetime = Field(default_factory=utc_now)


class DeckyMutation(SQLModel, table=True):
    """A wanted change of a decky's services: a queue whose rows are claimed and marked.

    pending -> applying -> applied or failed. `new_services` is empty until somebody chose; once it
    is written a killed mutator's successor applies the same choice.
    """

    __tablename__ = "decky_mutations"
    __table_args__ = (Index(None, "state", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True)
    host_uuid: str
    decky_name: str
    trigger: str
    actor: str = ""
    state: str = "pending"
    old_services: list[str] = Field(default_factory=list, sa_type=JsonText)
    new_services: list[str] = Field(default_factory=list, sa_type=JsonText)
    tries: int = 0
    reason: str | None = Field(default=None, sa_type=Text)
    requested_at: dt.datetime = Field(default_factory=utc_now)
    applied_at: dt.datetime | None = None


class DeckyLifecycle(SQLModel, table=True):
    """What became of one operation on a decky (service_added, service_removed, repair, …)."""

    __tablename__ = "decky_lifecycle"

    id: str = Field(default_factory=new_uuid, primary_key=True)
    decky_name: str
    host_uuid: str
    operation: str
    status: str = "pending"
    error: str | None = Field(default=None, sa_type=Text)
    started_at: dt.datetime = Field(default_factory=utc_now, index=True)
    completed_at: dt.datetime | None = None


class OrchestratorEvent(SQLModel, table=True):
    """One piece of life that was put into the estate: traffic, or a file."""

    __tablename__ = "orchestrator_events"
    __table_args__ = (Index(None, "dst", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True)
    ts: dt.datetime = Field(default_factory=utc_now)
    kind: str
    protocol: str = ""
    action: str
    src: str | None = None
    dst: str
    success: bool = True
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)


class OrchestratorEmail(SQLModel, table=True):
    """One message between two personas; `in_reply_to` makes a thread of them."""

    __tablename__ = "orchestrator_emails"
    __table_args__ = (Index(None, "decky", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, primary_key=True)
    ts: dt.datetime = Field(default_factory=utc_now)
    decky: str
    thread_id: str = Field(index=True)
    message_id: str = Field(unique=True)
    in_reply_to: str | None = None
    mail_from: str
    mail_to: str
    subject: str
    success: bool = True


class SyntheticFile(SQLModel, table=True):
    """A file that a persona left on a decky; edited again later."""

    __tablename__ = "synthetic_files"
    __table_args__ = (Index(None, "decky", "path", unique=True),)

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    decky: str
    path: str
    persona: str
    content_class: str
    edit_count: int = 0
    content_hash: str
    last_body: str = Field(sa_type=Text)
    created_at: dt.datetime = Field(default_factory=utc_now)
    modified_at: dt.datetime = Field(default_factory=utc_now)


class RealismConfig(SQLModel, table=True):
    """What the orchestrator may be told: weights, personas, on or off."""

    __tablename__ = "realism_config"

    key: str = Field(primary_key=True)
    value: Any = Field(default=None, sa_type=JsonText, nullable=True)
    updated_at: dt.datetime = Field(default_factory=utc_now)
