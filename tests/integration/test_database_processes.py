"""One SQLite file and many processes: contention, crashes, a full disk; nothing lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from decnet.db.revision import HEAD
from tests.support.bus import until
from tests.support.decnet_env import migrated, query, worker
from tests.support.mounts import fill, tmpfs

WRITER = "tests.support.writer"


def counts(file: Path) -> dict[str, tuple[int, int, int]]:
    """name -> (rows, distinct numbers, cursor)."""
    rows = query(
        file,
        "SELECT s.key, count(l.id), count(DISTINCT l.raw_line), s.value FROM state s "
        "LEFT JOIN logs l ON l.decky = s.key GROUP BY s.key",
    )
    return {name: (n, distinct, int(cursor)) for name, n, distinct, cursor in rows}


async def test_database_writers_under_contention_lose_nothing(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    each = 150
    async with (
        worker(tmp_path, WRITER, "count", "a", str(each)) as a,
        worker(tmp_path, WRITER, "count", "b", str(each)) as b,
        worker(tmp_path, WRITER, "count", "c", str(each)) as c,
    ):
        assert [await w.ended() for w in (a, b, c)] == [0, 0, 0]
    assert counts(file) == dict.fromkeys("abc", (each, each, each))


async def test_database_killed_writers_keep_rows_and_cursor_equal(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    committed = 0
    for round_ in range(6):
        async with (
            worker(tmp_path, WRITER, "forever", "a", "0") as a,
            worker(tmp_path, WRITER, "forever", "b", "0") as b,
        ):
            for _ in range(chance.randrange(1, 20)):
                await a.until_line("tick")
            await b.until_line("tick")
            await asyncio.sleep(chance.random() * 0.02)  # any instant of a transaction
            a.signal(signal.SIGKILL)
            b.signal(signal.SIGKILL)
            assert [await w.ended() for w in (a, b)] == [-9, -9]
        found = counts(file)
        for name, (rows, distinct, cursor) in found.items():
            assert rows == distinct == cursor, f"{name} in round {round_} of seed {seed}"
        assert sum(n for n, _, _ in found.values()) > committed
        committed = sum(n for n, _, _ in found.values())
    assert query(file, "PRAGMA integrity_check") == [("ok",)]
    assert query(file, "PRAGMA foreign_key_check") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
async def test_database_full_disk_is_waited_out_and_loses_nothing(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "4m") as disk:
        file = await asyncio.to_thread(migrated, disk)
        async with worker(disk, WRITER, "forever", "a", "0") as running:
            await running.until_line("tick")
            filler = fill(disk)

            async def drain() -> None:
                while await running.line():
                    pass

            reading = asyncio.create_task(drain())
            await until(lambda: "disk is full" in running.log.read_text())
            assert running.process.returncode is None
            before = counts(file)["a"]
            assert before[0] == before[1] == before[2]
            filler.unlink()
            await until(lambda: counts(file)["a"][0] > before[0])
            running.signal(signal.SIGTERM)
            assert await running.process.wait() == 0
            await reading
        rows, distinct, cursor = counts(file)["a"]
        assert rows == distinct == cursor
        assert "storage works again" in running.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
async def test_database_migration_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1m") as disk:
        filler = fill(disk, leave=20_000)
        async with worker(disk, "decnet.db.migrate") as running:
            assert await running.ended() == 75
        filler.unlink()
        async with worker(disk, "decnet.db.migrate") as running:
            assert await running.line() == f"database {disk}/decnet.db: created at {HEAD}"
            assert await running.ended() == 0
