"""Pages: bounded in length, by a cursor that stays right while rows are added in front."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")
COUNT_MOST = 10_000
"""Counting goes no further: a page never walks a table of millions."""

Limit = Annotated[int, Query(ge=1, le=1000, description="rows at most")]
Offset = Annotated[int, Query(ge=0, le=COUNT_MOST, description="rows to skip; prefer the cursor")]
Cursor = Annotated[
    str | None, Query(max_length=512, description="`next` of the page before this one")
]
Text = Annotated[str | None, Query(max_length=255)]


class Shape(BaseModel):
    """What is shown of a row: the fields that the model names."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """One page, newest first."""

    data: list[T]
    limit: int
    next: str | None = Field(None, description="cursor of the next page; null on the last one")


async def keyset(
    session: AsyncSession,
    statement: Select[Any],
    keys: Sequence[Any],
    limit: int,
    cursor: str | None,
) -> tuple[list[Any], str | None]:
    """A page of a statement, in descending order of two columns, and the next page's cursor.

    Args:
        statement: selects the entity that has the columns, first of all.
        keys: one column, or two of which the second is unique.
    Returns:
        Rows (tuples) and the cursor; None on the last page.
    Raises:
        HTTPException: 422, not a cursor of this list.
    """
    if cursor is not None:
        values = _decode(cursor, keys)
        first, last = keys[0], keys[-1]
        if len(keys) == 1:
            statement = statement.where(first < values[0])
        else:
            before = or_(first < values[0], last < values[1])
            statement = statement.where(and_(first <= values[0], before))
    ordered = statement.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    rows = list((await session.execute(ordered)).all())
    if len(rows) <= limit:
        return rows, None
    entity = rows[limit - 1][0]
    return rows[:limit], _encode([getattr(entity, key.key) for key in keys])


async def count(session: AsyncSession, statement: Select[Any]) -> int:
    """How many rows, `COUNT_MOST` at most."""
    some = statement.order_by(None).limit(COUNT_MOST).subquery()
    return int((await session.execute(select(func.count()).select_from(some))).scalar_one())


def found(row: T | None, what: str) -> T:
    """The row.

    Raises:
        HTTPException: 404 where there is none.
    """
    if row is None:
        raise HTTPException(404, f"no {what}")
    return row


def _encode(values: list[Any]) -> str:
    plain = [{"t": v.isoformat()} if isinstance(v, dt.datetime) else v for v in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode()


def _decode(cursor: str, keys: Sequence[Any]) -> list[Any]:
    try:
        plain = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii", "strict")))
        values = [dt.datetime.fromisoformat(v["t"]) if isinstance(v, dict) else v for v in plain]
        good = len(values) == len(keys) and all(
            type(value) is _python_type(key)
            and not (isinstance(value, int) and abs(value) >= 2**63)
            and not (isinstance(value, dt.datetime) and value.tzinfo is None)
            for value, key in zip(values, keys, strict=True)
        )
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        good = False
    if not good:
        raise HTTPException(422, "not a cursor of this list: take `next` of a page as it is")
    return values


def _python_type(key: Any) -> type:
    """What a column's values are; a decorated type does not say it itself."""
    kind = key.type
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    found: type = kind.python_type
    return found
