"""Draw what the other benchmarks measured: benchmarks/results/*.json -> *.png beside them.

    .venv/bin/python benchmarks/plots.py [bake] [fleet] [drift]

    bake    private memory of a worker, stage added by stage (bake.json)
    fleet   all processes in five ways of running them: bars of idle and worked, and the curves over
            the time of the load where fleet.json has them (fleet.json)
    drift   private memory of each worker over time (drift.csv, if benchmarks/drift.py wrote one)

Measures nothing. A picture whose figures are missing is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import drift
from benchmarks.support.curves import DPI, HEIGHT, WIDTH, pyplot
from benchmarks.support.looks import read_table

RESULTS = Path(__file__).resolve().parent / "results"
STYLE = {"font.size": 12, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True}
DARK, MIDDLE, LIGHT = "#1f4e79", "#4f94cd", "#bcd7ee"


def bake(results: Path) -> Path:
    """Bars on a logarithmic scale, for the first stage is worth twenty times the others."""
    found = json.loads((results / "bake.json").read_text())
    stages = found["stages"]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
        kinds = (("idle_mb", "idle", DARK), ("gc_mb", "after a collection", MIDDLE),
                 ("worked_mb", f"after {found['rounds']} rounds of work", LIGHT))  # fmt: skip
        for number, (key, label, colour) in enumerate(kinds):
            places = [n + (number - 1) * 0.27 for n in range(len(stages))]
            sizes = [stage[key] for stage in stages]
            bars = axes.bar(places, sizes, 0.27, label=label, color=colour)
            axes.bar_label(bars, fmt=lambda size: f"{size:.3g}", fontsize=8, padding=1)
        axes.set_xticks(range(len(stages)), [stage["name"] for stage in stages], rotation=25)
        axes.set_yscale("log")
        axes.set_ylabel("private memory of one worker, MB")
        axes.set_title(f"Bake of {found['floor']}, stage by stage (Python {found['python']})")
        axes.legend()
        return _save(figure, results / "bake.png")


def fleet(results: Path) -> Path:
    """Bars on the left, curves on the right."""
    found = json.loads((results / "fleet.json").read_text())
    modes = found["modes"]
    lines = {mode["mode"]: mode["series"] for mode in modes if len(mode.get("series") or []) > 1}
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(
            1, 2 if lines else 1, figsize=(WIDTH, HEIGHT), dpi=DPI, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        _fleet_bars(panels[0][0], modes)
        if lines:
            axes = panels[0][1]
            for name, series in lines.items():
                style = {"color": "black", "linewidth": 2.6} if name == "zygote" else {}
                axes.plot([p[0] for p in series], [p[1] for p in series], label=name, **style)
            axes.set(xlabel="seconds of load", ylabel="all processes, MB", xlim=(0, None))
            axes.set_ylim(bottom=0)
            axes.legend(fontsize=10)
        first = modes[0]
        figure.suptitle(
            f"{first['workers']} workers and {first['decoys']} decoys in {len(modes)} ways "
            f"(PSS + page tables, Python {found['python']})", fontsize=13,
        )  # fmt: skip
        return _save(figure, results / "fleet.png")


def _fleet_bars(axes: Any, modes: list[dict[str, Any]]) -> None:
    idle = [mode["idle"]["pss_mb"] + mode["idle"]["pagetables_mb"] for mode in modes]
    worked = [mode["pss_mb"] + mode["pagetables_mb"] for mode in modes]
    for shift, sizes, label, colour in ((-0.2, idle, "idle", DARK), (0.2, worked, "worked", LIGHT)):
        bars = axes.bar([n + shift for n in range(len(modes))], sizes, 0.4, label=label,
                        color=colour)  # fmt: skip
        axes.bar_label(bars, fmt="%.0f", fontsize=9, padding=1)
    axes.set_xticks(range(len(modes)), [mode["mode"] for mode in modes])
    axes.set_ylabel("all processes, MB")
    axes.legend()


def drifted(results: Path) -> Path:
    """As benchmarks/drift.py draws it."""
    png = results / "drift.png"
    drift.picture(read_table(results / "drift.csv"), png)
    return png


def _save(figure: Any, file: Path) -> Path:
    figure.savefig(file)
    pyplot.close(figure)
    return file


PICTURES: dict[str, Callable[[Path], Path]] = {"bake": bake, "fleet": fleet, "drift": drifted}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder")
    given = parser.parse_args()
    for name in given.names or PICTURES:
        if name not in PICTURES:
            parser.error(f"no picture {name!r}; there are: {', '.join(PICTURES)}")
        try:
            print(PICTURES[name](given.results), file=sys.stderr)
        except FileNotFoundError as error:
            print(f"plots.py: no {name}: {error.filename} is not there", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
