"""A migrated state folder, and real worker processes on it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from decnet.db.migrate import migrate
from tests.support import nursery
from tests.support.bus import DEADLINE
from tests.support.nursery import Nursling


@functools.cache
def _new_database() -> Path:
    """A database as the migrations make it, once for this process: tests have copies."""
    folder = Path(tempfile.mkdtemp(prefix="decnet-new-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "decnet.db"
    migrate(f"sqlite:///{file}")
    assert [each.name for each in folder.iterdir()] == [file.name], "it is all in one file"
    return file


def migrated(folder: Path) -> Path:
    """Make the database in a state folder that has none; gives its file."""
    file = folder / "decnet.db"
    assert not file.exists()
    shutil.copy(_new_database(), file)
    return file


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read from outside, with a connection of its own."""
    with contextlib.closing(sqlite3.connect(file, timeout=DEADLINE)) as connection:
        return connection.execute(sql).fetchall()


def connection_threads() -> list[str]:
    """Threads of database connections in this process. That of a closed one ends a moment later."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if "_connection_worker_thread" in name]  # as aiosqlite has it


class Worker:
    """A worker process; its stdout is read by line, its stderr goes to a file."""

    def __init__(self, process: asyncio.subprocess.Process | Nursling, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    async def line(self) -> str:
        """The next line on stdout; "" at its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return (await self.process.stdout.readline()).decode().strip()

    async def until_line(self, text: str) -> None:
        """Read until a line is exactly `text`."""
        while (line := await self.line()) != text:
            assert line, f"ended before {text!r}: {self.log.read_text()}"

    async def ended(self) -> int:
        """Wait for its end, throwing away what it still says; the return code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            await self.process.stdout.read()
            return await self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def worker(
    folder: Path, module: str, *arguments: str, cold: bool = False, **env: str
) -> AsyncIterator[Worker]:
    """A module with its arguments on the state folder; killed at the end of the block.

    Args:
        cold: as `python -m MODULE`; else as in a fleet, from a zygote, where it imports much.
    """
    # Beside the folder, not in it: tests fill the folder's disk.
    log = (
        folder.parent / f"{folder.name}-{'-'.join((module, *arguments)).replace('/', '_')[:60]}.err"
    )
    env = {**os.environ, "DECNET_STATE_DIR": str(folder), **env}
    process: asyncio.subprocess.Process | Nursling
    with log.open("ab") as err:
        if module in nursery.FLOORS and not cold:
            process = await nursery.start(module, arguments, env, err)
        else:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments),
                env=env,
                cwd=nursery.ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=err,
            )
    made = Worker(process, log)
    try:
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await made.ended()
