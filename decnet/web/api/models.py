"""What crosses the REST interface, as pydantic models: the OpenAPI document is made of these."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Is the interface up, and can it reach what it needs?"""

    status: str = Field(description='"ok", or "degraded" where the bus or the database is away')
    worker: str = "api"
    pid: int
    uptime_seconds: float
    database: str = Field(description='"ok" or the reason')
    bus: str = Field(description='"ok" or "away (polling)"')
    events: int = Field(description="rows in `logs`")


class LogEvent(BaseModel):
    """One stored event."""

    id: int
    timestamp: datetime
    decky: str
    service: str
    event_type: str
    attacker_ip: str
    fields: dict[str, Any]
    msg: str | None = None
    raw_line: str


class LogPage(BaseModel):
    """One page of events, newest first."""

    total: int
    limit: int
    offset: int
    data: list[LogEvent]


class AttackerRow(BaseModel):
    """One attacker's profile."""

    uuid: str
    ip: str
    first_seen: datetime
    last_seen: datetime
    event_count: int
    service_count: int
    decky_count: int
    credential_count: int
    services: list[str]
    deckies: list[str]
    is_traversal: bool
    behavior_class: str | None = None


class AttackerPage(BaseModel):
    """One page of attackers, last seen first."""

    total: int
    limit: int
    offset: int
    data: list[AttackerRow]


class Login(BaseModel):
    """What a login sends."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class Token(BaseModel):
    """What a login gets."""

    access_token: str
    token_type: str = "bearer"
    expires_in: int
    role: str
