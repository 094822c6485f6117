"""/auth: trade a password for a token, end a token, change one's own password."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.dialect import upsert
from decnet.db.tables import RevokedToken, User, utc_now
from decnet.web.api import auth
from decnet.web.api.guard import AnyCaller, Ctx

router = APIRouter(prefix="/auth", tags=["auth"])
Password = Annotated[str, Field(min_length=12, max_length=256)]


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
    must_change_password: bool = False


class Me(BaseModel):
    """Who is calling."""

    username: str
    role: str
    must_change_password: bool
    expires_at: dt.datetime


class NewPassword(BaseModel):
    """A change of one's own password."""

    current_password: str = Field(min_length=1, max_length=256)
    new_password: Password


async def check_password(request: Request, password: str, stored: str) -> bool:
    """Verify in a thread; a few at once, or guesses would take every core."""
    async with request.app.state.hashing:
        return await asyncio.to_thread(auth.verify_password, password, stored)


async def make_hash(request: Request, password: str) -> str:
    """Hash in a thread; a few at once."""
    async with request.app.state.hashing:
        return await asyncio.to_thread(auth.hash_password, password)


def brake(request: Request, username: str) -> tuple[str, ...]:
    """Count a try as failed before it is made, so that guesses in parallel are counted too.

    Raises:
        HTTPException: 429, too many failed before.
    """
    names = (f"ip:{request.client.host if request.client else '?'}", f"user:{username}")
    guard: auth.LoginBrake = request.app.state.brake
    if wait := guard.wait_seconds(*names):
        raise HTTPException(
            429,
            f"too many failed logins: try again in {wait:.0f} s",
            headers={"Retry-After": str(int(wait) + 1)},
        )
    guard.failed(*names)
    return names


@router.post("/login")
async def login(body: Login, ctx: Ctx, request: Request) -> Token:
    """Trade a name and a password for a token."""
    names = brake(request, body.username)
    async with ctx.db.session() as session:
        user = (
            await session.execute(select(User).where(col(User.username) == body.username))
        ).scalar()
    # An unknown name costs as much time as a wrong password, so that names cannot be found out.
    stored = user.password_hash if user else request.app.state.nobody_hash
    good = await check_password(request, body.password, stored)
    if user is None or not good:
        raise HTTPException(401, "wrong user name or password")
    request.app.state.brake.forgive(*names)
    seconds = ctx.settings.jwt_exp_minutes * 60
    return Token(
        access_token=auth.mint(
            ctx.settings.jwt_secret, user.username, user.role, seconds, uid=user.uuid
        ),
        expires_in=seconds,
        role=user.role,
        must_change_password=user.must_change_password,
    )


@router.get("/me")
async def me(caller: AnyCaller) -> Me:
    """Who the token belongs to."""
    return Me(
        username=caller.username,
        role=caller.role,
        must_change_password=caller.must_change_password,
        expires_at=dt.datetime.fromtimestamp(caller.expires_at, dt.UTC),
    )


@router.post("/logout", status_code=204)
async def logout(ctx: Ctx, caller: AnyCaller) -> None:
    """End this token now."""
    if caller.uid is None:
        raise HTTPException(409, "a token signed on the machine itself ends only by its own time")
    row = {
        "jti": caller.jti,
        "user_uuid": caller.uid,
        "expires_at": dt.datetime.fromtimestamp(caller.expires_at, dt.UTC),
    }

    async def work(session: AsyncSession) -> None:
        await session.execute(delete(RevokedToken).where(col(RevokedToken.expires_at) < utc_now()))
        await session.execute(upsert(session, RevokedToken, row, key=["jti"]))

    await ctx.db.write(work)


@router.post("/password", status_code=204)
async def password(body: NewPassword, ctx: Ctx, caller: AnyCaller, request: Request) -> None:
    """Change one's own password; all of one's tokens end, this one too."""
    if caller.uid is None:
        raise HTTPException(409, "this token is of no user: log in with a password")
    names = brake(request, caller.username)
    async with ctx.db.session() as session:
        user = await session.get(User, caller.uid)
    if user is None or not await check_password(request, body.current_password, user.password_hash):
        raise HTTPException(403, "the current password is another one")
    request.app.state.brake.forgive(*names)
    if body.new_password == body.current_password:
        raise HTTPException(422, "the new password is the old one")
    digest = await make_hash(request, body.new_password)

    async def work(session: AsyncSession) -> None:
        row = await session.get(User, caller.uid)
        if row is not None:
            row.password_hash, row.must_change_password = digest, False
            row.tokens_valid_from = utc_now()

    await ctx.db.write(work)
