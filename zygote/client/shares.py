"""Figures of processes that a wall hides from us, as far as their family tells them.

What a worker does not have for itself it shares with its zygote and that one's other workers; and
what its zygote took over from another, with all of that one's as well. So the manager's word for
its private memory, and an even share of the rest, stand in for what the kernel does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zygote.client.memory import Row
from zygote.control.interface import WorkerState, ZygoteState


def estimate_hidden(
    rows: Mapping[int, Row], workers: Sequence[WorkerState], zygotes: Sequence[ZygoteState]
) -> dict[int, Row]:
    """The rows by pid, with USS and PSS where only RSS could be read; those are `estimated`.

    One whose private memory the manager does not tell either (no `max_private`) stays as it is.
    """
    family = _Family(rows, workers, zygotes)
    found = dict(rows)
    for zygote in zygotes:
        own = {
            worker.pid or 0: worker.private // 1024
            for worker in family.workers[zygote.name]
            if worker.private is not None
        }
        own[zygote.pid or 0] = 0
        for pid, private in own.items():
            row = rows.get(pid)
            if row is None or row.uss_kib is not None or row.rss_kib is None:
                continue
            share = family.share(zygote.name, max(0, row.rss_kib - private))
            found[pid] = replace(row, uss_kib=private, pss_kib=private + share, estimated=True)
    return found


class _Family:
    """Who is a copy of whom, and how large the zygotes are."""

    def __init__(
        self,
        rows: Mapping[int, Row],
        workers: Sequence[WorkerState],
        zygotes: Sequence[ZygoteState],
    ) -> None:
        self.workers = {
            zygote.name: [w for w in workers if w.pid and w.zygote == zygote.name]
            for zygote in zygotes
        }
        self._parents = {zygote.name: zygote.parent for zygote in zygotes}
        self._sizes_kib = {
            zygote.name: (row.rss_kib or 0) if (row := rows.get(zygote.pid or 0)) else 0
            for zygote in zygotes
        }

    def share(self, name: str, seen_kib: int) -> int:
        """One process's part of what it has in common with others of this zygote's tree, in KiB."""
        parent = self._parents.get(name, "")
        known = parent in self._parents
        inherited = min(self._sizes_kib.get(parent, 0), seen_kib) if known else 0
        added = (seen_kib - inherited) // self._processes(name)
        return added + (self.share(parent, inherited) if inherited else 0)

    def _processes(self, name: str) -> int:
        """How many have a zygote's pages: it, its workers, and the same of its branches."""
        branches = [branch for branch, parent in self._parents.items() if parent == name]
        return 1 + len(self.workers[name]) + sum(map(self._processes, branches))
