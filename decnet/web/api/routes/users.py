"""/users: who may use the interface. Admins only."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.tables import User, utc_now
from decnet.web.api.guard import Admin, Ctx
from decnet.web.api.paging import Shape, found
from decnet.web.api.routes.login import Password, make_hash

router = APIRouter(prefix="/users", tags=["users"])
Role = Literal["admin", "viewer"]
Uuid = Annotated[str, Path(max_length=64)]
USERS_MOST = 1000


class UserRow(Shape):
    """A user, without the password's hash."""

    uuid: str
    username: str
    role: str
    must_change_password: bool


class NewUser(BaseModel):
    """A user to be made; the first login has to change the password."""

    username: str = Field(min_length=1, max_length=64, pattern=r"^[\w.@+-]+$")
    password: Password
    role: Role = "viewer"
    must_change_password: bool = True


class UserChange(BaseModel):
    """What is to be other than it is."""

    role: Role | None = None
    password: Password | None = None
    must_change_password: bool | None = None


@router.get("")
async def users(ctx: Ctx, caller: Admin) -> list[UserRow]:
    """All users."""
    async with ctx.db.session() as session:
        rows = await session.scalars(select(User).order_by(col(User.username)).limit(USERS_MOST))
        return [UserRow.model_validate(row) for row in rows]


@router.post("", status_code=201)
async def add(body: NewUser, ctx: Ctx, caller: Admin, request: Request) -> UserRow:
    """Make a user."""
    digest = await make_hash(request, body.password)
    user = User(
        username=body.username,
        password_hash=digest,
        role=body.role,
        must_change_password=body.must_change_password,
    )

    async def work(session: AsyncSession) -> None:
        if (await session.scalar(select(func.count(col(User.uuid)))) or 0) >= USERS_MOST:
            raise HTTPException(409, f"there are {USERS_MOST} users already")
        session.add(User(**user.model_dump()))

    try:
        await ctx.db.write(work)
    except IntegrityError as error:
        raise HTTPException(409, f"there is a user {body.username!r} already") from error
    return UserRow.model_validate(user)


@router.patch("/{uuid}")
async def change(
    uuid: Uuid, body: UserChange, ctx: Ctx, caller: Admin, request: Request
) -> UserRow:
    """Change a user's role, or set a password that the user has to change."""
    digest = await make_hash(request, body.password) if body.password else None

    async def work(session: AsyncSession) -> UserRow:
        row = found(await session.get(User, uuid), "such user")
        if body.role is not None and body.role != row.role:
            await _keep_an_admin(session, row)
            row.role = body.role
        if digest is not None:
            row.password_hash, row.must_change_password = digest, True
            row.tokens_valid_from = utc_now()
        if body.must_change_password is not None:
            row.must_change_password = body.must_change_password
        return UserRow.model_validate(row)

    return await ctx.db.write(work)


@router.delete("/{uuid}", status_code=204)
async def remove(uuid: Uuid, ctx: Ctx, caller: Admin) -> None:
    """Remove a user; the user's tokens end at once."""

    async def work(session: AsyncSession) -> None:
        row = found(await session.get(User, uuid), "such user")
        await _keep_an_admin(session, row)
        await session.delete(row)

    await ctx.db.write(work)


async def _keep_an_admin(session: AsyncSession, row: User) -> None:
    if row.role != "admin":
        return
    admins = await session.scalar(
        select(func.count(col(User.uuid))).where(col(User.role) == "admin")
    )
    if (admins or 0) <= 1:
        raise HTTPException(409, f"{row.username} is the last admin")
