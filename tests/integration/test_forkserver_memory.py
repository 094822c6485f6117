"""What a worker of a real floor has for itself, as the kernel counts it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.forkserver import MiniManager

FLOOR = """
import asyncio, os
import aiosqlite, fastapi, sqlalchemy.ext.asyncio, sqlmodel, uvicorn

async def main():
    os.write(1, b"running\\n")
    await asyncio.sleep(600)
"""


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(
        int(line.split()[1])
        for line in lines
        if line.startswith(("Private_Dirty", "Private_Clean"))
    )


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="no immortal reference counts before Python 3.12"
)
def test_memory_of_an_idle_worker_on_asyncio_is_below_one_megabyte(tmp_path: Path) -> None:
    (tmp_path / "memory_floor.py").write_text(FLOOR)
    manager = MiniManager(tmp_path / "zygote.log", cwd=tmp_path)
    try:
        report = manager.bake(preload=("memory_floor",))
        assert [s["name"] for s in report["skipped"]] in ([], ["collapse"])
        run = {"kind": "function", "target": "memory_floor:main"}
        # The first worker also maps pages of libraries that nobody had touched before.
        assert manager.spawn("", run=run).line() == "running"
        for _ in range(2):
            worker = manager.spawn("", run=run)
            assert worker.line() == "running"
            assert private_bytes(worker.pid) <= 1_000_000
    finally:
        manager.close()
