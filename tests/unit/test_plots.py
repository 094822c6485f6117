"""The pictures are drawn from the results that the repository holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.support.looks import Look, Table

RESULTS = Path(plots.RESULTS)
PNG = b"\x89PNG"


@pytest.mark.parametrize("name", ["bake", "fleet"])
def test_picture_is_drawn(tmp_path: Path, name: str) -> None:
    shutil.copy(RESULTS / f"{name}.json", tmp_path)
    assert plots.PICTURES[name](tmp_path).read_bytes().startswith(PNG)


def test_picture_of_the_fleet_has_curves_where_there_are_points(tmp_path: Path) -> None:
    found = json.loads((RESULTS / "fleet.json").read_text())
    for mode in found["modes"]:
        mode["series"] = []
    (tmp_path / "fleet.json").write_text(json.dumps(found))
    without = plots.fleet(tmp_path).read_bytes()
    found["modes"][0]["series"] = [[0.0, 900.0, 500.0], [5.0, 950.0, 520.0]]
    (tmp_path / "fleet.json").write_text(json.dumps(found))
    assert plots.fleet(tmp_path).read_bytes() != without


def test_picture_of_the_drift_is_drawn_from_its_csv(tmp_path: Path) -> None:
    table = Table(tmp_path / "drift.csv")
    for at in (0.0, 30.0):
        table.add([Look(at, name, 7, 5, 6, 4, 1, 3, 2, 0, 0) for name in ("bus", "decoy@a")])
    table.close()
    assert plots.drifted(tmp_path).read_bytes().startswith(PNG)
