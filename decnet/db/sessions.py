"""Recorded shells: where the recording lies and what was typed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText


class SessionRecording(SQLModel, table=True):
    """One recorded session. The keystrokes are in the day's shard (JSON lines), not in here."""

    __tablename__ = "session_recordings"
    __table_args__ = (Index(None, "attacker_ip", "ended_at"),)

    session_id: str = Field(primary_key=True)
    decky: str
    service: str
    attacker_ip: str
    principal: str = ""
    started_at: dt.datetime
    ended_at: dt.datetime = Field(index=True)
    duration_s: float
    commands: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonText)
    size_bytes: int = 0
    truncated: bool = False
    shard_path: str = Field(default="", sa_type=Text)
