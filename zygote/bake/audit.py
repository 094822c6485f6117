"""Refuse a floor that cannot be cloned safely.

It runs twice: right after the imports, so that a fault is named before the warm-up adds its own,
and when all code of the fleet's owner has run, because a warm-up may leave things behind. What it
looks for, and why each is a hazard, stands in `zygote.audit`.
"""

from __future__ import annotations

from zygote import audit
from zygote.audit import twins
from zygote.bake.stage import Bake


def run(bake: Bake) -> str:
    """All rules. Warnings, and findings that the fleet file allows, are kept in `bake.findings`.

    The first audit also forks two copies, to see that it works and that they differ; not of a
    floor that is refused anyhow, whose fork may hang.
    """
    first = not bake.frozen
    if first:
        bake.studied = audit.study(bake.ledger)
    bake.findings = audit.judge(bake.spec, _found(bake))
    if first:
        bake.twins = twins.look()
        bake.findings = audit.judge(bake.spec, _found(bake))
    allowed = sum(bool(finding.allowed) for finding in bake.findings)
    warnings = len(bake.findings) - allowed
    parts = [f"{allowed} allowed"] * bool(allowed) + [f"{warnings} warnings"] * bool(warnings)
    return ", ".join(parts) or "clean"


def _found(bake: Bake) -> list[audit.Finding]:
    found = [*audit.look(bake.link_fd, bake.ledger), *bake.studied, *bake.twins]
    return audit.explain(found)
