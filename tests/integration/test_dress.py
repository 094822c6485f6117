"""The dress rehearsal of the floor's bake: all are ready, and a machine that is slow fails nothing.

Found by `benchmarks/chaos.py`: at a load of twenty a worker was not ready in time, the whole bake
failed for it, and the fleet waited for another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from decnet import dress
from decnet.floor import ABSENT
from decnet.workers import WORKERS

FEW = {"bus", "collect", "profiler"}


async def test_those_who_are_late_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dress, "READY_SECONDS", 0.0)
    monkeypatch.setattr(dress, "ON_STAGE_SECONDS", 0.0)
    absent = {name for name in WORKERS if name not in FEW}
    late = await dress.rehearse(tmp_path, absent)
    assert set(late) <= FEW and late


@pytest.mark.timeout(600)  # eighteen workers in one process, on a machine that may be starved
async def test_all_are_ready_where_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dress, "READY_SECONDS", 500.0)
    assert await dress.rehearse(tmp_path, ABSENT) == []
