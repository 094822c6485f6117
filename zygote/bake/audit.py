"""Refuse a floor that cannot be cloned safely.

It runs twice: right after the imports, so that a fault is named before the warm-up adds its own,
and as the last stage, because a warm-up may leave things behind. What it looks for, and why each
is a hazard, stands in `zygote.audit`.
"""

from __future__ import annotations

from zygote import audit
from zygote.audit import heap
from zygote.bake.stage import Bake


def run(bake: Bake) -> str:
    """All rules. A finding whose rule the fleet file allows is kept in `bake.findings`."""
    if not bake.frozen:
        bake.heap = heap.scan()
    found = [*audit.look(bake.link_fd, bake.ledger), *bake.heap]
    bake.findings = audit.judge(bake.spec, found)
    return f"{len(bake.findings)} accepted" if bake.findings else "clean"
