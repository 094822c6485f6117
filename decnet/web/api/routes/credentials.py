"""/credentials, /credential-reuse, /bounty, /attachments: what attackers brought and left."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select
from sqlmodel import col

from decnet.db.tables import Bounty, Credential, CredentialReuse, ObservedAttachment
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Shape, Text, keyset

router = APIRouter(tags=["finds"])


class CredentialRow(Shape):
    """One secret by one address at one service."""

    id: int
    attacker_ip: str
    attacker_uuid: str | None
    decky_name: str
    service: str
    principal: str
    secret_kind: str
    secret_sha256: str
    secret_printable: str
    outcome: str | None
    first_seen: dt.datetime
    last_seen: dt.datetime
    attempt_count: int


class ReuseRow(Shape):
    """A secret that was tried at two or more targets."""

    id: int
    secret_sha256: str
    secret_kind: str
    principal: str | None
    attacker_uuids: list[str]
    attacker_ips: list[str]
    deckies: list[str]
    services: list[str]
    target_count: int
    attempt_count: int
    confidence: float
    first_seen: dt.datetime
    last_seen: dt.datetime


class BountyRow(Shape):
    """Something that an attacker left."""

    id: int
    timestamp: dt.datetime
    decky: str
    service: str
    attacker_ip: str
    bounty_type: str
    payload: dict[str, Any]


class AttachmentRow(Shape):
    """A file that somebody sent or left."""

    uuid: str
    sha256: str
    first_seen: dt.datetime
    last_seen: dt.datetime
    observation_count: int
    size_bytes: int
    first_decky: str
    first_attacker_ip: str
    extensions: list[str]
    first_subject: str | None
    mal_hash_match: bool | None
    mal_hash_source: str | None


@router.get("/credentials")
async def credentials(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    attacker_ip: Text = None,
    service: Text = None,
    principal: Text = None,
    secret_sha256: Text = None,
) -> Page[CredentialRow]:
    """Secrets that were tried, last tried first."""
    wanted = [
        col(column) == value
        for column, value in (
            (Credential.attacker_ip, attacker_ip),
            (Credential.service, service),
            (Credential.principal, principal),
            (Credential.secret_sha256, secret_sha256),
        )
        if value is not None
    ]
    keys = [col(Credential.last_seen), col(Credential.id)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, select(Credential).where(*wanted), keys, limit, cursor)
    return Page(data=[CredentialRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/credential-reuse")
async def reuse(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, min_targets: Limit = 2
) -> Page[ReuseRow]:
    """Secrets that were tried at several targets, last seen first."""
    statement = select(CredentialReuse).where(col(CredentialReuse.target_count) >= min_targets)
    keys = [col(CredentialReuse.last_seen), col(CredentialReuse.id)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, keys, limit, cursor)
    return Page(data=[ReuseRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/bounty")
async def bounty(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    bounty_type: Text = None,
    attacker_ip: Text = None,
) -> Page[BountyRow]:
    """What attackers left, newest first."""
    wanted = [
        col(column) == value
        for column, value in ((Bounty.bounty_type, bounty_type), (Bounty.attacker_ip, attacker_ip))
        if value is not None
    ]
    async with ctx.db.session() as session:
        rows, after = await keyset(
            session, select(Bounty).where(*wanted), [col(Bounty.id)], limit, cursor
        )
    return Page(data=[BountyRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/attachments")
async def attachments(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Page[AttachmentRow]:
    """Files that were sent or left, last seen first."""
    keys = [col(ObservedAttachment.last_seen), col(ObservedAttachment.uuid)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, select(ObservedAttachment), keys, limit, cursor)
    return Page(data=[AttachmentRow.model_validate(r) for (r,) in rows], limit=limit, next=after)
