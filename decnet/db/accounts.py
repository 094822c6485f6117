"""Who may use the API."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from decnet.db.base import new_uuid


class User(SQLModel, table=True):
    """An operator; `role` is admin or viewer."""

    __tablename__ = "users"

    uuid: str = Field(default_factory=new_uuid, primary_key=True)
    username: str = Field(unique=True)
    password_hash: str
    role: str = "viewer"
    must_change_password: bool = False
    tokens_valid_from: dt.datetime | None = None


class RevokedToken(SQLModel, table=True):
    """A token that was ended before its time; kept until it would have expired anyway."""

    __tablename__ = "revoked_tokens"

    jti: str = Field(primary_key=True)
    user_uuid: str = Field(foreign_key="users.uuid", ondelete="CASCADE", index=True)
    expires_at: dt.datetime = Field(index=True)
