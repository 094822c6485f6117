"""Small durable values by key: above all the workers' cursors (see `cursors`)."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText


class State(SQLModel, table=True):
    """One value; written in the transaction of the rows that it speaks of."""

    __tablename__ = "state"

    key: str = Field(primary_key=True)
    value: Any = Field(default=None, nullable=True, sa_type=JsonText)
