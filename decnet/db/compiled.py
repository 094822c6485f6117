"""SQL that was compiled before the fork, for all workers.

SQLAlchemy compiles a statement once and keeps the result, but each engine keeps its own, and an
engine is made after the fork: so every worker would compile every statement again, at some
milliseconds and 20 to 60 kB each. Here the engines of a process share one cache, and what the
warm-up compiled stays in it for good: `keep` makes it the floor's.

The cache asks for the same dialect, by identity. Ours are equal when they are of one class: all
are made by `decnet.db.dialect.make_engine` with the same settings, on the same SQLite library.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import URL
from sqlalchemy.util import LRUCache

OWN_SIZE = 200
"""Statements that a process keeps beside those of the floor; the least used go first."""
_NAME = "decnet_aiosqlite"


class Dialect(SQLiteDialect_aiosqlite):
    """SQLite over aiosqlite, equal to every other one."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class CompiledCache(LRUCache[Any, Any]):
    """An LRU cache over a plain dict that nothing is ever dropped from, nor written to on a hit."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.shared: dict[Any, Any] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        """The compiled statement, from the floor's or from our own."""
        found = self.shared.get(key)
        return super().get(key, default) if found is None else found

    def keep(self) -> None:
        """Make all that is in here the floor's."""
        self.shared.update(self.items())
        self.clear()


CACHE = CompiledCache(OWN_SIZE)

registry.register(f"sqlite.{_NAME}", __name__, "Dialect")


def shared(url: URL) -> URL:
    """The same database, by the dialect that shares what it compiles."""
    if url.drivername != "sqlite+aiosqlite":
        return url
    return url.set(drivername=f"sqlite+{_NAME}")
