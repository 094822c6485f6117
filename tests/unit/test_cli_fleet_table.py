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


def test_spark_shows_growth_and_no_ripples() -> None:
    assert fleet_table.spark(()) == ""
    assert fleet_table.spark((5000, 5100, 4990)) == "▁▁▁"
    grown = fleet_table.spark((1000, 5000, 9000))
    assert grown[0] == "▁" and grown[-1] == "█" and grown[0] < grown[1] < grown[2]
    assert set(fleet_table.spark((0, 9000), "_.-=+*#@")) == {"_", "@"}


def test_top_can_sort_by_each_of_its_columns() -> None:
    from zygote.cli.top_view import ORDER, SORTS

    titles = {"cpu%" if name == "cpu" else name for name in ORDER} - {"fleet"}
    assert {column.title.lower() for column in fleet_table.TOP} - {"cpu"} == titles
    line = fleet_table.Line("worker", "x", "ready", Row(None))
    for name in set(ORDER) - {"fleet"}:
        SORTS[name](line)
