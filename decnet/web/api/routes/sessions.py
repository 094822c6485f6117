"""/sessions: recorded shells, and their keystrokes for a replay."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlmodel import col

from decnet.db.tables import SessionRecording
from decnet.web.api import recordings
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Shape, Text, found, keyset

router = APIRouter(prefix="/sessions", tags=["sessions"])
Id = Annotated[str, Path(max_length=128)]


class SessionRow(Shape):
    """One recorded session."""

    session_id: str
    decky: str
    service: str
    attacker_ip: str
    principal: str
    started_at: dt.datetime
    ended_at: dt.datetime
    duration_s: float
    size_bytes: int
    truncated: bool


class SessionDetail(SessionRow):
    """A session with what was typed."""

    commands: list[dict[str, Any]]


class Recording(BaseModel):
    """A part of a recording: `events` are [seconds, "i" | "o" | "r" | "x", text]."""

    header: dict[str, Any]
    events: list[tuple[float, str, str]]
    next: int | None = Field(description="`offset` of the next part; null after the last one")


@router.get("")
async def sessions(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    attacker_ip: Text = None,
    decky: Text = None,
) -> Page[SessionRow]:
    """Recorded sessions, last ended first."""
    wanted = [
        col(column) == value
        for column, value in (
            (SessionRecording.attacker_ip, attacker_ip),
            (SessionRecording.decky, decky),
        )
        if value is not None
    ]
    keys = [col(SessionRecording.ended_at), col(SessionRecording.session_id)]
    async with ctx.db.session() as session:
        rows, after = await keyset(
            session, select(SessionRecording).where(*wanted), keys, limit, cursor
        )
    return Page(data=[SessionRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/{session_id}")
async def one(ctx: Ctx, caller: Caller, session_id: Id) -> SessionDetail:
    """One session with what was typed."""
    async with ctx.db.session() as session:
        row = await session.get(SessionRecording, session_id)
    return SessionDetail.model_validate(found(row, f"session {session_id!r}"))


@router.get("/{session_id}/recording")
async def recording(
    ctx: Ctx,
    caller: Caller,
    session_id: Id,
    offset: Annotated[int, Query(ge=0, lt=2**62)] = 0,
) -> Recording:
    """What was typed and shown, with times; in parts."""
    async with ctx.db.session() as session:
        row = found(await session.get(SessionRecording, session_id), f"session {session_id!r}")
    try:
        piece = await asyncio.to_thread(
            recordings.read, ctx.settings.artifacts_dir, row.shard_path, session_id, offset
        )
    except recordings.NoRecording as error:
        raise HTTPException(404, str(error)) from error
    return Recording(header=piece.header, events=piece.events, next=piece.next)
