"""What all tables share: one metadata with named constraints, ids, times, JSON as text.

Times are aware and UTC in Python (sqlmodel's column type refuses naive ones) and sort as text
in SQLite. JSON is compact ASCII in a text column, so that it reads the same in every database
and with every tool; hostile text in it is escaped.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""A constraint without a name cannot be altered by a later migration."""


METADATA = SQLModel.metadata
METADATA.naming_convention = NAMING


class JsonText(TypeDecorator[Any]):
    """A JSON value in a text column; None stays NULL.

    Changing a list or dict in place is not noticed: assign a new one.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), default=str)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def utc_now() -> dt.datetime:
    """Now, aware, in UTC."""
    return dt.datetime.now(dt.UTC)


def new_uuid() -> str:
    """A random UUID as text."""
    return str(uuid.uuid4())
