"""Drawing for the benchmarks: lines over time that can still be read at half their width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

WIDTH, HEIGHT, DPI = 11.0, 6.2, 120
_COLOURS: list[Any] = [*pyplot.get_cmap("tab20").colors]  # type: ignore[attr-defined]
_COLOURS[14:16] = ["black", "navy"]  # its greys are those of `grey`
_STYLES = ("-", "--", ":")


class Lines(dict[str, list[tuple[float, float]]]):
    """Name -> points, in the order in which they are to be drawn."""


def draw(
    file: Path, panels: list[tuple[str, Lines]], *, x: str, title: str, grey: str = "decoy@"
) -> None:
    """One panel beside the other, all with the same lines.

    Args:
        panels: (what the y axis shows, its lines).
        grey: names that begin so share one colour and one entry of the legend.
    """
    with pyplot.rc_context({"font.size": 12, "axes.grid": True, "grid.alpha": 0.3}):
        figure, found = pyplot.subplots(
            1, len(panels), figsize=(WIDTH, HEIGHT), dpi=DPI, squeeze=False, layout="constrained"
        )
        for axes, (y, lines) in zip(found[0], panels, strict=True):
            _panel(axes, lines, grey)
            axes.set(xlabel=x, ylabel=y)
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
        handles, labels = found[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=10)
        figure.suptitle(title, fontsize=13)
        figure.savefig(file)
        pyplot.close(figure)


def _panel(axes: Any, lines: Lines, grey: str) -> None:
    own = [name for name in lines if not name.startswith(grey)]
    others = [name for name in lines if name.startswith(grey)]
    for number, name in enumerate(others):
        label = f"{len(others)} × {grey.rstrip('@')}" if number == 0 else "_"
        axes.plot(*zip(*lines[name], strict=True), color="0.75", linewidth=0.8, label=label)
    for number, name in enumerate(own):
        # Twice the same tint, one after the other, would be hard to tell apart.
        colour = _COLOURS[(number * 2) % 20 + (number * 2) // 20 % 2]
        style = _STYLES[number // 20 % len(_STYLES)]
        axes.plot(
            *zip(*lines[name], strict=True), color=colour, linestyle=style, linewidth=1.8,
            label=name,
        )  # fmt: skip
