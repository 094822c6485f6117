"""Tokens and triggers in the database; for the worker, the command line and the REST interface.

Each function works in the caller's transaction.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.canary.hit import Hit
from decnet.db.dialect import upsert
from decnet.db.tables import CanaryBlob, CanaryToken, CanaryTrigger, utc_now
from zygote.errors import ZygoteError

REVOKED = "revoked"
KINDS = ("http", "dns", "aws_passive")
FINGERPRINTED = "fingerprinted"


class CanaryError(ZygoteError):
    """What was asked for cannot be done."""

    def __init__(self, message: str, hint: str = "", code: str = "canary") -> None:
        super().__init__(message, code=code, hint=hint, exit_code=2)


@dataclass(frozen=True)
class Known:
    """What the worker has to know of a token to judge a hit."""

    uuid: str
    nonce: str
    revoked: bool


@dataclass(frozen=True)
class Rung:
    """A trigger that was stored, and whether its fingerprint ended the token."""

    token: CanaryToken
    trigger_id: int
    hit: Hit
    revoked: bool


def make_slug() -> str:
    """20 letters and digits, 100 bits: good in a URL, good as a DNS label, in any case."""
    return base64.b32encode(secrets.token_bytes(13)).decode().lower()[:20]


async def add(
    session: AsyncSession,
    name: str,
    *,
    kind: str = "http",
    generator: str | None = None,
    instrumenter: str | None = None,
    blob: CanaryBlob | None = None,
    decky: str | None = None,
    path: str | None = None,
) -> CanaryToken:
    """A new token, planted as far as we know.

    Raises:
        CanaryError: not a kind, or no usable name.
    """
    if kind not in KINDS:
        raise CanaryError(f"no kind of token {kind!r}", f"one of: {', '.join(KINDS)}")
    if not 0 < len(name) <= 128 or not name.isprintable():
        raise CanaryError("a token's name has 1 to 128 printable characters")
    if blob is not None:
        row = blob.model_dump()
        await session.execute(upsert(session, CanaryBlob, row, key=["sha256"]))
    token = CanaryToken(
        name=name,
        kind=kind,
        generator=generator,
        instrumenter=instrumenter,
        blob_sha256=blob.sha256 if blob else None,
        decky_name=decky,
        placement_path=path,
        callback_token=make_slug(),
        fingerprint_nonce=secrets.token_hex(12),
    )
    session.add(token)
    await session.flush()
    return token


async def find(session: AsyncSession, name: str) -> CanaryToken:
    """By uuid or slug, or by name where only one has it.

    Raises:
        CanaryError: none, or several.
    """
    statement = select(CanaryToken).where(
        (col(CanaryToken.uuid) == name)
        | (col(CanaryToken.callback_token) == name)
        | (col(CanaryToken.name) == name)
    )
    found = (await session.scalars(statement.limit(2))).all()
    if len(found) == 1:
        return found[0]
    raise CanaryError(
        f"several tokens are named {name!r}" if found else f"no canary token {name!r}",
        "say its id; see: decnetctl canary list",
    )


async def every(session: AsyncSession, most: int = 1000) -> Sequence[CanaryToken]:
    """The tokens, the newest first."""
    statement = select(CanaryToken).order_by(
        col(CanaryToken.created_at).desc(), col(CanaryToken.uuid)
    )
    return (await session.scalars(statement.limit(most))).all()


async def blob_of(session: AsyncSession, token: CanaryToken) -> CanaryBlob | None:
    """The file that the token was put into."""
    return await session.get(CanaryBlob, token.blob_sha256) if token.blob_sha256 else None


async def revoke(session: AsyncSession, name: str, reason: str = "by hand") -> CanaryToken:
    """Let its hits count no more. Visitors notice nothing."""
    token = await find(session, name)
    if token.state != REVOKED:
        token.state, token.revoked_at, token.revoked_reason = REVOKED, utc_now(), reason
        session.add(token)
    return token


async def triggers(
    session: AsyncSession, name: str | None = None, most: int = 50
) -> list[dict[str, Any]]:
    """What rang, the newest first; of one token or of all."""
    statement = (
        select(CanaryTrigger, col(CanaryToken.name))
        .join(CanaryToken, col(CanaryToken.uuid) == col(CanaryTrigger.token_uuid))
        .order_by(col(CanaryTrigger.id).desc())
        .limit(most)
    )
    if name is not None:
        token = await find(session, name)
        statement = statement.where(col(CanaryTrigger.token_uuid) == token.uuid)
    return [
        {**trigger.model_dump(mode="json"), "name": of}
        for trigger, of in await session.execute(statement)
    ]


async def known(session: AsyncSession) -> dict[str, Known]:
    """Every token by its slug: operators make them, so there are few."""
    rows = await session.execute(
        select(
            col(CanaryToken.callback_token),
            col(CanaryToken.uuid),
            col(CanaryToken.fingerprint_nonce),
            col(CanaryToken.state),
        )
    )
    return {slug: Known(uuid, nonce, state == REVOKED) for slug, uuid, nonce, state in rows}


async def ring(session: AsyncSession, hits: Sequence[Hit]) -> tuple[list[Rung], int]:
    """Store hits; those stored before are ignored.

    Returns:
        What is new, and how many hits were on no live token.
    """
    slugs = {hit.slug for hit in hits}
    rows = await session.scalars(
        select(CanaryToken).where(col(CanaryToken.callback_token).in_(slugs))
    )
    tokens = {token.callback_token: token for token in rows}
    seen = set(
        await session.scalars(
            select(col(CanaryTrigger.hit_id)).where(
                col(CanaryTrigger.hit_id).in_([hit.id for hit in hits])
            )
        )
    )
    rung, nobody = [], 0
    for hit in hits:
        token = tokens.get(hit.slug)
        if hit.id in seen:
            continue
        if token is None or (token.state == REVOKED and _is_after(hit, token)):
            nobody += 1
            continue
        seen.add(hit.id)
        rung.append(await _ring(session, token, hit))
    return rung, nobody


async def count(session: AsyncSession) -> dict[str, int]:
    """Tokens by state."""
    found = await session.execute(
        select(col(CanaryToken.state), func.count()).group_by(col(CanaryToken.state))
    )
    return {str(state): int(number) for state, number in found}


def _is_after(hit: Hit, token: CanaryToken) -> bool:
    return token.revoked_at is None or hit.at >= token.revoked_at


async def _ring(session: AsyncSession, token: CanaryToken, hit: Hit) -> Rung:
    trigger = CanaryTrigger(
        hit_id=hit.id,
        token_uuid=token.uuid,
        occurred_at=hit.at,
        src_ip=hit.src_ip,
        user_agent=hit.user_agent,
        request_path=hit.path,
        dns_qname=hit.qname,
        raw_headers=hit.headers,
        fingerprint=hit.fingerprint,
    )
    session.add(trigger)
    await session.flush()
    values: dict[str, Any] = {
        "trigger_count": col(CanaryToken.trigger_count) + 1,
        "last_triggered_at": hit.at,
    }
    revoked = hit.fingerprint is not None and token.state != REVOKED
    if revoked:
        # It has told all that it can; a copy of the payload, sent again, tells nothing.
        values |= {"state": REVOKED, "revoked_at": utc_now(), "revoked_reason": FINGERPRINTED}
    await session.execute(
        update(CanaryToken).where(col(CanaryToken.uuid) == token.uuid).values(**values)
    )
    if revoked:
        await session.refresh(token)
    assert trigger.id is not None
    return Rung(token, trigger.id, hit, revoked)
