"""What `top` shows: the lines in their order, the chosen one, sums, and each worker's history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.text import Text

from zygote.cli import fleet_table, render
from zygote.cli.cold import cold_words
from zygote.cli.fleet_table import HISTORY_LENGTH, Line
from zygote.cli.status_words import ago, count
from zygote.client.memory import Census

Sort = Literal[
    "fleet", "name", "state", "pid", "age", "restarts", "rss", "pss", "uss", "dirty", "ptab",
    "cpu", "limit", "zygote", "gen",
]  # fmt: skip
_ROW = {"rss": "rss_kib", "pss": "pss_kib", "uss": "uss_kib", "dirty": "private_dirty_kib",
        "ptab": "pagetables_kib", "age": "age_s", "pid": "pid"}  # fmt: skip


def _by_figure(field: str) -> Callable[[Line], Any]:
    return lambda line: -(getattr(line.row, field) or 0)


SORTS: dict[str, Callable[[Line], Any]] = {
    "name": lambda line: line.name,
    "state": lambda line: line.state,
    "zygote": lambda line: line.zygote,
    "cpu": lambda line: -(line.percent or 0.0),
    "gen": lambda line: -line.generation,
    "restarts": lambda line: -(line.worker.restarts if line.worker else 0),
    "limit": lambda line: -((line.worker.memory_max if line.worker else 0) or 0),
    **{name: _by_figure(field) for name, field in _ROW.items()},
}
"""Columns to sort by: names upwards, numbers downwards."""

ORDER: tuple[Sort, ...] = (
    "fleet", "name", "state", "pid", "age", "restarts", "rss", "pss", "uss", "dirty", "ptab",
    "cpu", "limit", "zygote", "gen",
)  # fmt: skip
KEYS = "↑↓ choose  <> sort  r reverse  R restart  S stop  l log  c cow  q quit"


class View:
    """State of the screen.

    Attributes:
        message: a line at the foot, in place of the keys: a question, or what came of it.
    """

    def __init__(self, sort: Sort, reverse: bool) -> None:
        self.sort: Sort = sort
        self.reverse = reverse
        self.chosen = ""
        self.message = ""
        self._census: Census | None = None
        self._percents: dict[int, float] = {}
        self._history: dict[str, deque[int]] = {}

    def take(self, census: Census, percents: dict[int, float]) -> None:
        """A new look at the fleet."""
        self._census, self._percents = census, percents
        names = set()
        for worker, row in census.workers:
            names.add(worker.name)
            if row.uss_kib is not None:
                past = self._history.setdefault(worker.name, deque(maxlen=HISTORY_LENGTH))
                past.append(row.uss_kib)
        for gone in set(self._history) - names:
            del self._history[gone]

    def lines(self) -> list[Line]:
        """Workers in the order that is wanted, then the rest."""
        assert self._census
        lines = fleet_table.lines_of(self._census, self._percents)
        workers = [
            replace(line, history=tuple(self._history.get(line.name, ())))
            for line in lines
            if line.kind == "worker"
        ]
        if self.sort != "fleet":
            workers.sort(key=SORTS[self.sort])
        if self.reverse:
            workers.reverse()
        return workers + [line for line in lines if line.kind != "worker"]

    def move(self, steps: int) -> None:
        """Choose another worker."""
        names = [line.name for line in self.lines() if line.kind == "worker"]
        if not names:
            return
        at = names.index(self.chosen) + steps if self.chosen in names else (0 if steps > 0 else -1)
        self.chosen = names[max(0, min(at, len(names) - 1)) if at >= 0 else 0]

    def resort(self, steps: int) -> None:
        """Sort by another column."""
        self.sort = ORDER[(ORDER.index(self.sort) + steps) % len(ORDER)]

    def sums(self) -> str:
        """`this fleet: 201.3 MB; as cold processes: 980 MB (measured …)`."""
        assert self._census
        totals = self._census.totals()
        here = (totals["pss_kib"] or 0) + (totals["pagetables_kib"] or 0)
        sign = "~" if totals["estimated"] else ""
        return f"this fleet: {sign}{render.megabytes(here)} MB; {cold_words(self._census)}"

    def draw(self, screen: Console, *, keys: bool) -> RenderableType:
        """The whole screen."""
        assert self._census
        manager = self._census.manager[0]
        lines = self.lines()
        workers = [worker for worker, _ in self._census.workers]
        head = Text.assemble(
            (manager.fleet, "bold"), f"  up {ago(manager.started_at)}  {count(workers)}",
            (f"  by {self.sort}{' reversed' if self.reverse else ''}", "dim"),
        )  # fmt: skip
        parts: list[RenderableType] = [_one_line(head), _one_line(Text(self.sums()))]
        if not manager.limits.startswith("enforced"):
            parts.append(_one_line(Text(f"limits {manager.limits}", style="yellow")))
        lines, hidden = self._window(lines, screen.height - len(parts) - 4 - keys)
        note = f"{hidden} more workers; " if hidden > 0 else ""
        note += fleet_table.note(self._census)
        columns = fleet_table.fit_for_top(screen.encoding)
        table = render.rich_table(columns, lines, screen.width, note=note, marked=self._is_chosen)
        # On a line of its own: below a narrow table it would be broken into many.
        said, table.caption = str(table.caption), None
        parts += [Text(), table, _one_line(Text(said, style="dim"))]
        if keys:
            plain = KEYS if screen.encoding.startswith("utf") else KEYS.replace("↑↓", "jk")
            foot = Text(self.message or plain, style="bold" if self.message else "dim")
            parts.append(_one_line(foot))
        return Group(*parts)

    def _is_chosen(self, line: Line) -> bool:
        return line.kind == "worker" and line.name == self.chosen

    def _window(self, lines: list[Line], height: int) -> tuple[list[Line], int]:
        """As many workers as there is room for, the chosen one among them; how many are not."""
        if len(lines) <= height:
            return lines, 0
        tail = [line for line in lines if line.kind != "worker"]
        tail = tail if height - len(tail) >= 2 else []
        workers = [line for line in lines if line.kind == "worker"]
        room = max(1, height - len(tail))
        at = next((n for n, line in enumerate(workers) if line.name == self.chosen), 0)
        first = max(0, min(at - room + 1, len(workers) - room)) if at >= room else 0
        return workers[first : first + room] + tail, len(workers) - room


def _one_line(text: Text) -> Text:
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text
