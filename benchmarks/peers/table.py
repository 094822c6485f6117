"""Figures to rows, rows to a table: what needs no process."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

MB = 1024 / 1e6
COLUMNS = {
    "idle_mb": "idle",
    "worked_mb": "worked",
    "collected_mb": "collected",
    "private_idle_mb": "idle/w",
    "private_worked_mb": "worked/w",
    "private_collected_mb": "coll./w",
    "start_s": "start s",
    "crash_ready_ms": "crash ms",
    "stop_s": "stop s",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """A tree's memory in KiB: all processes together, each worker's own, how many processes."""

    pss_kib: int
    pagetables_kib: int
    private_kib: list[int]
    processes: int

    def columns(self, state: str) -> dict[str, float]:
        """The two figures of one state: "idle", "worked" or "collected"."""
        total = self.pss_kib + self.pagetables_kib
        return {
            f"{state}_mb": round(total * MB, 1),
            f"private_{state}_mb": round(statistics.median(self.private_kib) * MB, 2),
        }


def crash_ms(seconds: list[float | None]) -> float | None:
    """The median of the crashes; None as soon as one of them was not made good."""
    whole = [each for each in seconds if each is not None]
    if not whole or len(whole) < len(seconds):
        return None
    return round(statistics.median(whole) * 1e3, 1)


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """What an extra of pyproject.toml names."""
    return list(project["project"]["optional-dependencies"][extra])


def name_of(requirement: str) -> str:
    """The package that a requirement is about."""
    end = next((n for n, c in enumerate(requirement) if c not in "-_." and not c.isalnum()), None)
    return requirement[:end].lower()


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    lines = [
        f"{result['n']} workers, Python {result['python']}, {result['floor']}, "
        f"{result['rounds']} rounds; MB of 10^6 bytes: the whole tree, and private per worker (/w)"
    ]
    wide = max(len(row["peer"]) for row in result["peers"]) + 2
    lines.append(f"  {'':{wide}}" + "".join(f"{head:>10}" for head in COLUMNS.values()))
    for row in result["peers"]:
        if "idle_mb" not in row:
            lines.append(f"  {row['peer']:{wide}}{row['note']}")
            continue
        cells = "".join(f"{_cell(row[name]):>10}" for name in COLUMNS)
        lines.append(f"  {row['peer']:{wide}}{cells}  {row['note']}".rstrip())
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
