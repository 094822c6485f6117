"""Draw a process's memory as a map: a pixel a page, a colour a cause.

Needs matplotlib, which is in the extra `plot`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zygote.inspect import causes
from zygote.inspect.compare import Comparison
from zygote.inspect.memory import explained
from zygote.inspect.report import Report
from zygote.inspect.sides import Page
from zygote.sys import pagemap

matplotlib.use("Agg")

_WIDE = 256
_SHARED = (0.91, 0.91, 0.91)
_NONE = (1.0, 1.0, 1.0)
COLOURS = {
    causes.FRESH: "#4477aa",
    causes.INLINE: "#ee7733",
    causes.WRITTEN: "#cc3311",
    causes.SAME: "#aa3377",
    causes.HOLE: "#228833",
    causes.REFCOUNT: "#ddaa33",
    causes.CACHE: "#66ccee",
    causes.GC_HEADER: "#000000",
    causes.STATE: "#777777",
    causes.STACK: "#997755",
    causes.FILE: "#bbcc33",
    causes.ALONE: "#99aacc",
    causes.UNKNOWN: "#555555",
}
_PARTS = ("heap (malloc)", "heap (Python)", "rest")


def draw(comparison: Comparison, report: Report, path: Path) -> None:
    """Write a PNG. Each page has the colour of the cause that takes most of it.

    Raises:
        OSError: it cannot be written.
    """
    parts = _parts(comparison)
    rows = [max(1, -(-len(pages) // _WIDE)) for pages in parts.values()]
    figure = Figure(figsize=(8.0, 1.6 + sum(rows) / 40 + 0.45 * len(parts)), dpi=100)
    axes = figure.subplots(len(parts), 1, height_ratios=rows, squeeze=False)[:, 0]
    for axis, (name, pages), count in zip(axes, parts.items(), rows, strict=True):
        blank = [_NONE] * (count * _WIDE - len(pages))
        pixels = [*(_colour(page) for page in pages), *blank]
        axis.imshow(
            [pixels[at : at + _WIDE] for at in range(0, len(pixels), _WIDE)],
            interpolation="nearest", aspect="auto",
        )  # fmt: skip
        private = sum(page is not None for page in pages)
        axis.set_title(
            f"{name}: {private / 256:.1f} of {len(pages) / 256:.1f} MiB private",
            fontsize=9, loc="left",
        )  # fmt: skip
        axis.set_xticks([])
        axis.set_yticks([])
    shown = [(cause, size) for cause, size in report.causes() if size.kib >= 1]
    legend = [
        Patch(color=COLOURS[cause], label=f"{cause} {size.kib * 1024 / 1e6:.1f} MB")
        for cause, size in shown
    ]
    legend.append(Patch(facecolor=_SHARED, label="shared"))
    figure.legend(handles=legend, loc="lower center", ncols=3, fontsize=8, frameon=False)
    private_mb = report.private_kib * 1024 / 1e6
    figure.suptitle(f"{report.subject}: {private_mb:.1f} MB private", fontsize=11)
    below = (0.25 + 0.17 * -(-len(legend) // 3)) / figure.get_figheight()
    figure.tight_layout(rect=(0, below, 1, 1))
    figure.savefig(path)


def _parts(comparison: Comparison) -> dict[str, list[Page | None]]:
    """The pages in memory of each part, by address; None is a shared one."""
    private = {page.address: page for page in comparison.pages}
    found: dict[str, list[Page | None]] = {name: [] for name in _PARTS}
    with explained(comparison.child.pid):
        present = pagemap.read_resident(comparison.child.pid, comparison.child.maps)
    for address in sorted(private.keys() | set(present)):
        name = comparison.regions.of(address).name
        found[name if name in found else "rest"].append(private.get(address))
    return {name: pages for name, pages in found.items() if pages}


def _colour(page: Page | None) -> tuple[float, ...]:
    if page is None:
        return _SHARED
    by_cause: dict[str, float] = {}
    for share in page.shares:
        by_cause[share.cause] = by_cause.get(share.cause, 0) + share.size
    text = COLOURS[max(by_cause, key=by_cause.__getitem__)]
    return tuple(int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
