"""The cache of compiled statements that a floor and its workers share."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.engine import make_url

from decnet.db import compiled
from decnet.db.dialect import make_engine
from decnet.db.tables import Log


async def test_a_second_engine_compiles_nothing(tmp_path: Path) -> None:
    cache = compiled.CACHE
    engines = [
        make_engine(f"sqlite+aiosqlite:///{tmp_path}/{name}.db", connections=1) for name in "ab"
    ]
    sizes = []
    for engine in engines:
        async with engine.begin() as connection:
            await connection.run_sync(Log.__table__.create)
            await connection.execute(select(Log.id).where(Log.decky == "x"))
        sizes.append((len(cache), len(cache.shared)))
        await engine.dispose()
    assert sizes[0] == sizes[1]
    assert sum(sizes[0]) > 0


def test_what_is_kept_is_never_dropped() -> None:
    cache = compiled.CompiledCache(4)
    cache["floor"] = "sql"
    cache.keep()
    for number in range(50):
        cache[number] = "own"
    assert cache.get("floor") == "sql"
    assert len(cache) <= 8
    assert cache.get("nothing") is None


def test_other_databases_keep_their_dialect() -> None:
    url = make_url("postgresql+asyncpg://user@host/name")
    assert compiled.shared(url) == url
    assert compiled.shared(make_url("sqlite+aiosqlite:///x.db")).database == "x.db"
    assert compiled.Dialect() == compiled.Dialect()
    assert len({compiled.Dialect(), compiled.Dialect()}) == 1
