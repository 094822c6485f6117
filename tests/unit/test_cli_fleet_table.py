"""The table of `ps` and `top`: what a process is a copy of."""

from __future__ import annotations

from zygote.cli import fleet_table, render
from zygote.client.memory import Census, Row
from zygote.control.interface import ManagerState, WorkerState, ZygoteState

CENSUS = Census(
    workers=((WorkerState("resize", "ready", 4, zygote="images"), Row(4)),),
    manager=(ManagerState("1", 1, "shop", "fleet.toml", "run", "logs", 0.0, "3.13"), Row(1)),
    zygotes=(
        (ZygoteState("floor", "ready", 2, generation=1), Row(2)),
        (ZygoteState("images", "ready", 3, generation=1, parent="floor"), Row(3)),
    ),
)


def test_branch_names_its_parent_where_a_worker_names_its_zygote() -> None:
    columns = (fleet_table.NAME, fleet_table.ZYGOTE)
    lines = render.plain(columns, fleet_table.lines_of(CENSUS)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["resize", "images"],
        ["zygote.floor", "-"],
        ["zygote.images", "floor"],
        ["manager", "-"],
        ["total", "-"],
    ]


def test_json_has_the_parent_of_each_zygote() -> None:
    found = fleet_table.as_json(CENSUS)["zygotes"]
    assert {each["name"]: each["parent"] for each in found} == {"floor": "", "images": "floor"}
