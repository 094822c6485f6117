"""The database of one process: pragmas, transactions, upserts, cursors, types."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import select

from decnet.db import cursors, engine
from decnet.db.base import JsonText
from decnet.db.dialect import is_busy, is_full, upsert
from decnet.db.engine import Database
from decnet.db.errors import StorageBusy, StorageFull
from decnet.db.tables import (
    CREDENTIAL_KEY,
    Attacker,
    AttackerBehavior,
    Credential,
    Log,
    utc_now,
)
from tests.support.decnet_env import connection_threads


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    await database.create_all()
    await database.open()
    yield database
    await database.close()


def a_log(**values: object) -> Log:
    return Log(
        **{
            "timestamp": utc_now(),
            "decky": "decky-01",
            "service": "ssh",
            "event_type": "connect",
            "attacker_ip": "192.0.2.1",
            "raw_line": "<134>1 - - - - - -",
            **values,
        }
    )


class SlowLog:
    """In place of the driver's: a thread that has said that it is done takes its time to end."""

    def debug(self, text: str, *_: object) -> None:
        if text.endswith("completed"):
            time.sleep(0.05)


async def test_database_close_ends_the_threads_of_its_connections(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiosqlite.core.LOG", SlowLog())
    async with db.session() as session:
        await session.execute(text("SELECT 1"))
    assert connection_threads()
    await db.close()
    assert not connection_threads()


async def test_database_connections_are_set_up(db: Database) -> None:
    async with db.session() as session:
        values = {
            name: (await session.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values["journal_mode"] == "wal"
    assert values["synchronous"] == 1
    assert values["foreign_keys"] == 1
    assert values["busy_timeout"] > 0


async def test_database_writes_no_temporary_file_wherever_that_would_be(db: Database) -> None:
    async def work(session: AsyncSession) -> list[str]:
        await session.execute(text("CREATE TEMP TABLE spill AS SELECT zeroblob(100000) AS a"))
        for _ in range(6):
            await session.execute(text("INSERT INTO spill SELECT a FROM spill"))
        held = Path("/proc/self/fd")
        return [str(fd.readlink()) for fd in held.iterdir() if fd.is_symlink()]

    files = await db.write(work)
    assert any(file.endswith("test.db") for file in files)
    assert not [file for file in files if "etilqs" in file]


async def test_database_threads_end_with_it(tmp_path: Path) -> None:
    def threads() -> set[str]:
        return {t.name for t in threading.enumerate() if "_connection_worker" in t.name}

    database = Database(f"sqlite+aiosqlite:///{tmp_path}/t.db")
    await database.create_all()
    await database.open()
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
    assert len(threads()) >= 1
    await database.close()
    await database.close()
    async with asyncio.timeout(30):
        while threads():
            await asyncio.sleep(0.01)


async def test_database_write_is_all_or_nothing(db: Database) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(a_log())
        await cursors.set(session, "cursor", 1)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await db.write(work)
    async with db.session() as session:
        assert (await session.execute(select(Log))).first() is None
        assert await cursors.get(session, "cursor") is None


async def test_database_write_returns_and_objects_stay_usable(db: Database) -> None:
    async def work(session: AsyncSession) -> Log:
        row = a_log()
        session.add(row)
        await session.flush()
        return row

    row = await db.write(work)
    assert row.id == 1
    assert row.decky == "decky-01"


async def test_database_write_takes_the_lock_before_it_reads(db: Database, tmp_path: Path) -> None:
    async def work(session: AsyncSession) -> None:
        await session.execute(text("SELECT 1"))
        other = sqlite3.connect(tmp_path / "test.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()

    await db.write(work)


async def test_database_write_waits_for_another_writer(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decnet.db.dialect.BUSY_MS", 1)
    async with db.session() as session:
        await session.execute(text("PRAGMA busy_timeout=1"))
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tries = 0

    async def work(session: AsyncSession) -> int:
        await cursors.set(session, "answer", 42)
        return 42

    original = db._write_once

    async def counted(fn):  # type: ignore[no-untyped-def]
        nonlocal tries
        tries += 1
        if tries == 3:
            other.execute("ROLLBACK")
        return await original(fn)

    monkeypatch.setattr(db, "_write_once", counted)
    assert await db.write(work) == 42
    assert tries >= 3
    other.close()


async def test_database_locked_for_too_long_is_its_own_error(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WRITE_SECONDS", 0.0)
    async with db.session() as session:
        await session.execute(text("PRAGMA busy_timeout=1"))
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy) as caught:
        await db.write(lambda session: cursors.set(session, "a", 1))
    assert isinstance(caught.value, Database.transient)
    other.close()


async def test_database_full_is_its_own_error_and_loses_nothing(db: Database) -> None:
    async with db.session() as session:
        pages = (await session.execute(text("PRAGMA page_count"))).scalar()
        # The pool has this one connection: a limit on it stands for a full disk.
        await session.execute(text(f"PRAGMA max_page_count={pages + 1}"))

    async def work(session: AsyncSession) -> None:
        session.add(a_log(raw_line="x" * 100_000))
        await cursors.set(session, "cursor", 7)

    with pytest.raises(StorageFull) as caught:
        await db.write(work)
    assert isinstance(caught.value, Database.transient)
    async with db.session() as session:
        assert await cursors.get(session, "cursor") is None
        await session.execute(text("PRAGMA max_page_count=1000000"))
    await db.write(work)
    async with db.session() as session:
        assert await cursors.get(session, "cursor") == 7


def test_database_error_classes_are_told_apart() -> None:
    def error(code: int) -> sqlite3.OperationalError:
        made = sqlite3.OperationalError("x")
        made.sqlite_errorcode = code
        return made

    assert is_busy(error(sqlite3.SQLITE_BUSY)) and is_busy(error(sqlite3.SQLITE_BUSY_SNAPSHOT))
    assert is_full(error(sqlite3.SQLITE_FULL)) and is_full(error(sqlite3.SQLITE_IOERR_SHMSIZE))
    for other in (error(sqlite3.SQLITE_CORRUPT), ValueError(), sqlite3.OperationalError("bare")):
        assert not is_busy(other) and not is_full(other)


async def test_database_from_before_a_fork_is_refused(db: Database) -> None:
    db._pid = os.getpid() + 1
    with pytest.raises(RuntimeError, match="before a fork"):
        await db.write(lambda session: cursors.set(session, "a", 1))
    db._pid = os.getpid()


async def test_database_upsert_counts_and_ignores(db: Database) -> None:
    now = utc_now()
    row = {
        **dict.fromkeys(CREDENTIAL_KEY, "x"),
        "secret_b64": "eA==",
        "secret_printable": "x",
        "first_seen": now,
        "last_seen": now,
        "attempt_count": 1,
        "fields": {},
    }

    async def again(session: AsyncSession) -> None:
        await session.execute(
            upsert(
                session,
                Credential,
                row,
                key=CREDENTIAL_KEY,
                update={"attempt_count": Credential.attempt_count + 1},
            )
        )
        await session.execute(upsert(session, Credential, row, key=CREDENTIAL_KEY))

    await db.write(again)
    await db.write(again)
    async with db.session() as session:
        found = (await session.execute(select(Credential))).scalars().all()
    assert [c.attempt_count for c in found] == [2]


async def test_database_foreign_keys_hold_and_cascade(db: Database) -> None:
    async def orphan(session: AsyncSession) -> None:
        session.add(AttackerBehavior(attacker_uuid="nobody"))

    with pytest.raises(IntegrityError):
        await db.write(orphan)

    async def family(session: AsyncSession) -> str:
        attacker = Attacker(ip="192.0.2.1", first_seen=utc_now(), last_seen=utc_now())
        session.add(attacker)
        await session.flush()
        session.add(AttackerBehavior(attacker_uuid=attacker.uuid))
        return attacker.uuid

    await db.write(family)

    async def end(session: AsyncSession) -> None:
        await session.delete((await session.execute(select(Attacker))).scalar_one())

    await db.write(end)
    async with db.session() as session:
        assert (await session.execute(select(AttackerBehavior))).first() is None


async def test_database_log_ids_are_never_given_again(db: Database) -> None:
    async def add(session: AsyncSession) -> int | None:
        row = a_log()
        session.add(row)
        await session.flush()
        return row.id

    first = await db.write(add)
    await db.write(lambda session: session.execute(text("DELETE FROM logs")))
    second = await db.write(add)
    assert first is not None and second == first + 1


async def test_database_times_are_aware_utc(db: Database) -> None:
    elsewhere = dt.timezone(dt.timedelta(hours=5))
    moment = dt.datetime(2026, 11, 24, 3, 0, 0, 123456, tzinfo=elsewhere)

    async def add(session: AsyncSession) -> None:
        session.add(a_log(timestamp=moment))

    await db.write(add)
    async with db.session() as session:
        found = (await session.execute(select(Log.timestamp))).scalar_one()
        stored = (await session.execute(text("SELECT timestamp FROM logs"))).scalar_one()
    assert found == moment
    assert found.utcoffset() == dt.timedelta(0)
    assert stored == "2026-11-23 22:00:00.123456"

    async def naive(session: AsyncSession) -> None:
        session.add(a_log(timestamp=moment.replace(tzinfo=None)))

    with pytest.raises(StatementError, match="timezone"):
        await db.write(naive)


async def test_cursors_prefixed_takes_the_prefix_literally(db: Database) -> None:
    async def work(session: AsyncSession) -> None:
        for key in ("spool:a_b.log", "spool:axb.log", "spool%", "other"):
            await cursors.set(session, key, {"inode": 1, "offset": 2})

    await db.write(work)
    async with db.session() as session:
        assert set(await cursors.prefixed(session, "spool:a_")) == {"spool:a_b.log"}
        assert len(await cursors.prefixed(session, "spool")) == 3


async def test_cursors_set_overwrites_and_keeps_null(db: Database) -> None:
    for value in (1, {"offset": 5}, None, [1, "ü"]):
        await db.write(lambda session, value=value: cursors.set(session, "k", value))
        async with db.session() as session:
            assert await cursors.get(session, "k", "default") == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_database_json_column_round_trips_as_plain_ascii(value: object) -> None:
    column = JsonText()
    stored = column.process_bind_param(value, None)  # type: ignore[arg-type]
    assert stored is None or (stored.isascii() and "\0" not in stored)
    assert column.process_result_value(stored, None) == value  # type: ignore[arg-type]


async def test_database_many_writers_of_one_process_take_turns(db: Database) -> None:
    async def add(session: AsyncSession) -> None:
        count = await cursors.get(session, "n", 0)
        await cursors.set(session, "n", count + 1)

    await asyncio.gather(*(db.write(add) for _ in range(50)))
    async with db.session() as session:
        assert await cursors.get(session, "n") == 50
