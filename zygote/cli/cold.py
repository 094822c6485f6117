"""What the same workers would cost as cold processes: measured by the tenant, or a bound.

The bound: each worker's anonymous memory as the kernel counts it (RssAnon, in which the floor's
pages are whole) and page tables, plus file pages once, plus the manager. A cold process that
imports less than the whole floor, or has not been baked, needs less, often by half: so it is
called "at most". `zygotectl floor MODULES` measures a real one.
"""

from __future__ import annotations

from zygote.cli import render
from zygote.cli.context import current
from zygote.client.memory import Census
from zygote.sys import procfs


def cold_words(census: Census) -> str:
    """`as cold processes: 1281 MB (measured 2026-05-01)`, or the bound, which says so."""
    measured = current.cold() if current.cold else None
    if measured:
        return f"as cold processes: {render.megabytes(measured[0])} MB ({measured[1]})"
    kib = bound(census)
    return f"as cold processes: at most {render.megabytes(kib)} MB (estimate: all have all of it)"


def bound(census: Census) -> int:
    """KiB, by the rule above."""
    anon = files = 0
    for worker, row in census.workers:
        found = procfs.read_kinds(worker.pid) if worker.pid else None
        if found:
            anon += found.anon_kib + (row.pagetables_kib or 0)
            files = max(files, found.file_kib)
    return anon + files + (census.manager[1].pss_kib or 0)
