"""Pictures of floors, as bars. Needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zygote.errors import ZygoteError
from zygote.inspect.floor import Floor

_PRIVATE, _REST, _BELOW = "#3b6ea5", "#a9c4e0", "#ececec"


def draw(floor: Floor, into: Path) -> None:
    """One bar a layer, each beginning where the one before it ended.

    Args:
        into: the file; its ending says of which kind (.png, .svg, .pdf).
    Raises:
        ZygoteError: no matplotlib; the file cannot be written.
    """
    figure, axes = _sheet(into, 1.6 + 0.45 * len(floor.layers))
    below = 0.0
    for row, layer in enumerate(floor.layers):
        start = 0.0 if floor.each and row else below
        if floor.each and row:
            start = _mb(floor.layers[0].rss_kib)
        added, private = _mb(layer.added_rss_kib), _mb(layer.added_uss_kib)
        label = {"label": "files' pages, shared by all that map them"} if not row else {}
        own = {"label": "private memory: paid by each cold process"} if not row else {}
        axes.barh(row, start, color=_BELOW)
        axes.barh(row, added, left=start, color=_REST, **label)
        axes.barh(row, private, left=start, color=_PRIVATE, **own)
        text = f" +{added:.1f} MB, {_time(layer.seconds)}"
        axes.text(start + max(added, 0), row, text, va="center", fontsize=8)
        below = _mb(layer.rss_kib)
    axes.set_yticks(range(len(floor.layers)), [_short(layer.layer) for layer in floor.layers])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(_mb(layer.rss_kib) for layer in floor.layers))
    axes.set_xlabel("RSS, MB of 10^6 bytes")
    over = "each over a bare interpreter" if floor.each else "each over those above it"
    axes.set_title(f"What imports cost, {over}", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    _save(figure, into)


def _sheet(into: Path, height: float) -> tuple[Any, Any]:
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ZygoteError(
            f"cannot draw {into}: {error}",
            code="no-matplotlib",
            hint="pip install 'zygote-fleet[plot]', or take --json to your own tools",
        ) from None
    figure, axes = pyplot.subplots(figsize=(9, height), layout="constrained")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, into: Path) -> None:
    from matplotlib import pyplot

    try:
        figure.savefig(into, dpi=130)
    except (OSError, ValueError) as error:
        raise ZygoteError(
            f"cannot write the picture {into}: {error}",
            code="no-picture",
            hint="a folder that exists, and a name that ends with .png, .svg or .pdf",
        ) from None
    finally:
        pyplot.close(figure)


def _mb(kib: int) -> float:
    return kib * 1024 / 1e6


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"
