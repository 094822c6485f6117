"""Looks at the memory of workers over time, and the CSV file that they are kept in."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.support import unshared
from zygote.control.interface import WorkerState, ZygoteState
from zygote.sys import procfs


@dataclass(frozen=True, slots=True)
class Look:
    """One line of the CSV; bytes and seconds. -1: could not be told (its zygote is another)."""

    time: float
    worker: str
    pid: int
    uss: int
    pss: int
    private_dirty: int
    page_tables: int
    unshared: int
    fresh: int
    file: int
    restarts: int


def look(at: float, workers: list[WorkerState], zygotes: list[ZygoteState]) -> list[Look]:
    """Every worker that runs."""
    floors: dict[tuple[str, int], Any] = {}
    for zygote in zygotes:
        pages = unshared.read_pages(zygote.pid) if zygote.pid else None
        if pages is not None:
            floors[zygote.name, zygote.generation] = unshared.addresses(pages)
    found = []
    for worker in workers:
        memory = procfs.read_memory(worker.pid) if worker.pid else None
        if worker.pid is None or memory is None:
            continue
        floor = floors.get((worker.zygote, worker.generation))
        pages = unshared.read_pages(worker.pid) if floor is not None else None
        parts = unshared.split(pages, floor) if pages is not None else (-1, -1, -1)
        kib = (memory.uss_kib, memory.pss_kib, memory.private_dirty_kib, memory.pagetables_kib)
        sizes = (each * 1024 for each in kib)
        found.append(Look(round(at, 1), worker.name, worker.pid, *sizes, *parts, worker.restarts))
    return found


class Table:
    """The CSV file; a line is on disk when `add` returns."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        self._file = file.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow([field.name for field in fields(Look)])

    def add(self, looks: list[Look]) -> None:
        """Append."""
        self._writer.writerows(list(asdict(each).values()) for each in looks)
        self._file.flush()

    def close(self) -> None:
        """No more."""
        self._file.close()


def read_table(file: Path) -> list[Look]:
    """The looks of a CSV; a last line that was cut short is left out."""
    looks = []
    with file.open(newline="") as table:
        for row in csv.reader(table):
            if len(row) == len(fields(Look)) and row[0] != "time":
                time_, worker, *numbers = row
                looks.append(Look(float(time_), worker, *map(int, numbers)))
    return looks
