"""Anything of the whole fleet is killed at random, under load: nobody else dies, nothing is lost.

The run is `benchmarks/chaos.py`, with kills enough to hit each kind of process; its last line on
stderr says how to have the same plan again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 25
SEED = 5


@pytest.mark.timeout(840)
async def test_fleet_survives_whatever_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, ROOT / "benchmarks" / "chaos.py", "--kills", str(KILLS)),
        *("--seed", str(SEED), "--quick-bake", "--json", "--keep", tmp_path / "kept"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 800)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    said = json.loads(output)
    said["kills"].pop("hog", None)  # in a cgroup of its own it has those, too
    assert sum(said["kills"].values()) == KILLS
    assert set(said["kills"]) == {"manager", "zygote", "bus", "worker", "decoy"}
    for nothing in ("collateral", "lost_deeds", "doubled", "ghosts", "leaked", "not_back"):
        assert not said[nothing], f"{nothing}: {said[nothing]}; kept in {tmp_path / 'kept'}"
    assert said["sent"] == said["stored"] == said["profiled"] == said["shown"] > 0
    assert process.returncode == 0
