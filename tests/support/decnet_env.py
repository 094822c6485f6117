"""A migrated state folder, and real worker processes on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from decnet.db.migrate import migrate
from tests.support.bus import DEADLINE


def migrated(folder: Path) -> Path:
    """Make the database in a state folder, in a thread's own loop; gives its file."""
    file = folder / "decnet.db"
    migrate(f"sqlite:///{file}")
    return file


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read from outside, with a connection of its own."""
    with contextlib.closing(sqlite3.connect(file, timeout=DEADLINE)) as connection:
        return connection.execute(sql).fetchall()


class Worker:
    """A worker process; its stdout is read by line, its stderr goes to a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
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
async def worker(folder: Path, *arguments: str, **env: str) -> AsyncIterator[Worker]:
    """`python -m ARGUMENTS` on the state folder; killed at the end of the block."""
    # Beside the folder, not in it: tests fill the folder's disk.
    log = folder.parent / f"{folder.name}-{'-'.join(arguments).replace('/', '_')[:60]}.err"
    with log.open("ab") as err:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *arguments),
            env={**os.environ, "DECNET_STATE_DIR": str(folder), **env},
            cwd=Path(__file__).resolve().parents[2],
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
