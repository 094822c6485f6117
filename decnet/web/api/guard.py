"""Who may: the worker's context and the caller, as FastAPI dependencies.

A token of a login names its user (`uid`): that row decides at each request, so a user who was
removed, demoted or logged out is so at once. A token without one was signed on this machine by
whoever may read the secret (`decnetctl token`); its own claims count.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request

from decnet.context import Context
from decnet.db.tables import RevokedToken, User
from decnet.web.api import auth


async def _context(request: Request) -> Context:
    ctx: Context = request.app.state.ctx
    return ctx


Ctx = Annotated[Context, Depends(_context)]


def unauthorized(why: str) -> HTTPException:
    """401, with the header that goes with it."""
    return HTTPException(401, why, headers={"WWW-Authenticate": "Bearer"})


async def identify(
    ctx: Ctx, authorization: Annotated[str | None, Header()] = None
) -> auth.Identity:
    """The caller behind `Authorization: Bearer TOKEN`, who may have to change the password."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("send a bearer token: POST /api/v1/auth/login, or `decnetctl token`")
    try:
        identity = auth.check(ctx.settings.jwt_secret, token.strip())
    except auth.BadToken as error:
        raise unauthorized(str(error)) from error
    return await still_valid(ctx, identity)


async def still_valid(ctx: Context, identity: auth.Identity) -> auth.Identity:
    """The identity as the database has it now.

    Raises:
        HTTPException: 401, the token was revoked or its user is gone.
    """
    async with ctx.db.session() as session:
        if await session.get(RevokedToken, identity.jti) is not None:
            raise unauthorized("this token was revoked: log in again")
        if identity.uid is None:
            return identity
        user = await session.get(User, identity.uid)
    issued = dt.datetime.fromtimestamp(identity.issued_at, dt.UTC)
    if user is None or (user.tokens_valid_from and issued < user.tokens_valid_from):
        raise unauthorized("this token is no longer valid: log in again")
    return identity.as_user(user.username, user.role, user.must_change_password)


AnyCaller = Annotated[auth.Identity, Depends(identify)]


async def _settled(identity: AnyCaller) -> auth.Identity:
    if identity.must_change_password:
        raise HTTPException(403, "change the password first: POST /api/v1/auth/password")
    return identity


Caller = Annotated[auth.Identity, Depends(_settled)]
"""Anybody who is logged in."""


async def _admin(identity: Caller) -> auth.Identity:
    if identity.role != "admin":
        raise HTTPException(403, f"{identity.username} is a {identity.role}: this takes an admin")
    return identity


Admin = Annotated[auth.Identity, Depends(_admin)]
