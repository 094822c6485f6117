"""How figures and tables look: numbers from one place, drawn for a terminal or for a pipe.

On a terminal rich draws, with colours unless NO_COLOR is set, and columns that do not fit are left
out, least important first. In a pipe there are all columns, one space-padded line a row, so that
awk finds the same field in the same place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zygote.cli.text import clean
from zygote.units import format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STATES = {
    "ready": "green",
    "up": "cyan",
    "starting": "cyan",
    "baking": "cyan",
    "stopping": "yellow",
    "backoff": "yellow",
    "failed": "bold red",
    "unknown": "red",
    "inactive": "dim",
    "dead": "red",
}
"""Style of each state."""

GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: on a terminal.
        cell: the text for one record.
        right: align to the right (numbers).
        drop: left out on a narrow terminal; higher goes first, 0 never.
        plain: title in a pipe, one word; default: the same.
        style: of one record's cell.
    """

    title: str
    cell: Callable[[Any], str]
    right: bool = False
    drop: int = 0
    plain: str = ""
    style: Callable[[Any], str] | None = None


def is_terminal() -> bool:
    """stdout is one."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """rich's console, taking nothing in a text for markup."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def show(columns: Sequence[Column], records: Sequence[Any], *, note: str = "") -> None:
    """Print a table on stdout; the note goes below it, on a terminal only."""
    if not is_terminal():
        sys.stdout.write(plain(columns, records))
        return
    screen = console()
    screen.print(rich_table(columns, records, screen.width, note=note))


def plain(columns: Sequence[Column], records: Sequence[Any]) -> str:
    """All columns and rows, with their line ends. An empty cell is `-`, so that none is lost."""
    titles = [column.plain or column.title for column in columns]
    rows = [titles, *([column.cell(r) or "-" for column in columns] for r in records)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(columns))]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        lines.append((" " * GAP).join(cells).rstrip())
    return "\n".join(lines) + "\n"


def fitting(columns: Sequence[Column], records: Sequence[Any], width: int) -> list[Column]:
    """The columns that fit into so many cells of a terminal."""
    kept = list(columns)

    def needed() -> int:
        cells = (
            max(len(column.title), *(len(column.cell(r)) for r in records), 0) for column in kept
        )
        return sum(cells) + GAP * (len(kept) - 1)

    while needed() > width and any(column.drop for column in kept):
        kept.remove(max(kept, key=lambda column: column.drop))
    return kept


def rich_table(
    columns: Sequence[Column],
    records: Sequence[Any],
    width: int,
    *,
    note: str = "",
    marked: Callable[[Any], bool] | None = None,
) -> Table:
    """The same for a terminal; what was left out is named below.

    Args:
        marked: tells which record is shown in reverse.
    """
    from rich.table import Table
    from rich.text import Text

    kept = fitting(columns, records, width)
    left_out = [column.title for column in columns if column not in kept]
    if left_out:
        note = f"{note}{'; ' if note else ''}no room for {' '.join(left_out)} (--wide)"
    table = Table(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", caption=note or None,
        caption_justify="left", caption_style="dim",
    )  # fmt: skip
    for column in kept:
        table.add_column(
            column.title, justify="right" if column.right else "left", no_wrap=True,
            overflow="ellipsis",
        )  # fmt: skip
    for record in records:
        table.add_row(
            *(
                Text(column.cell(record), style=column.style(record) if column.style else "")
                for column in kept
            ),
            style="reverse" if marked and marked(record) else None,
        )
    return table


def lines(pairs: Iterable[tuple[str, str, str]]) -> None:
    """Print `name: value` lines, the names aligned; a pair without a value is left out.

    Args:
        pairs: (name, value, style of the value); values may have several lines.
    """
    shown = [(name, value, style) for name, value, style in pairs if value]
    if not shown:
        return
    width = max(len(name) for name, _, _ in shown) + 1
    write = _writer()
    for name, value, style in shown:
        for number, line in enumerate(value.split("\n")):
            write(f"{name + ':' if not number else '':>{width}} ", line, style)


def heading(text: str, style: str = "bold") -> None:
    """One line by itself."""
    _writer()("", text, style)


def _writer() -> Callable[[str, str, str], None]:
    if not is_terminal():
        return lambda before, text, _style: print(f"{before}{clean(text)}")
    from rich.text import Text

    screen = console()

    def write(before: str, text: str, style: str) -> None:
        screen.print(Text.assemble((before, "dim"), (clean(text), style)), soft_wrap=True)

    return write


def megabytes(kib: float | None) -> str:
    """`85.9` for 83888 KiB: MB of 10^6 bytes."""
    return "" if kib is None else f"{kib * 1024 / 1e6:.1f}"


def limit(size: int | None) -> str:
    """A limit as it is written in the fleet file: `128M`."""
    from zygote.units import spell_bytes

    return "" if size is None else spell_bytes(size)


def age(seconds: float | None) -> str:
    """At most six characters: `41s`, `3m20s`, `2h05m`, `3d04h`, `120d`."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    hours = whole // 3600
    if hours < 24:
        return f"{hours}h{whole % 3600 // 60:02}m"
    return f"{hours // 24}d{hours % 24:02}h" if hours < 24 * 100 else f"{hours // 24}d"


def cpu(seconds: float | None) -> str:
    """`0.42s`, `61.3s`, `2h05m`."""
    if seconds is None:
        return ""
    return (
        f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s" if seconds < 1000 else age(seconds)
    )


def milliseconds(value: float | None) -> str:
    """`2.4ms`, `41ms`, `3.1s`."""
    if value is None:
        return ""
    return f"{value:.1f}ms" if value < 9.95 else format_seconds(value / 1000)
