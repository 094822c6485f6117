"""What a zygote's audit found, as lines for `status`: warnings, and what was allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zygote.fleet.model import WorkerSpec, ZygoteSpec

_MANY = 4
"""Workers that are named; more are counted."""


def lines(
    spec: ZygoteSpec,
    report: Mapping[str, Any],
    workers: Iterable[WorkerSpec],
    env: Mapping[str, str],
) -> list[str]:
    """One line for each finding of the bake, and for each variable that comes too late.

    Args:
        report: of the bake.
        workers: those that are copies of this zygote.
        env: what the zygote inherits.
    """
    found = [_line(finding) for finding in report.get("findings", [])]
    if "environ-read" not in spec.allow:
        found += _late(spec, report.get("environ_reads", {}), workers, {**env, **spec.env})
    return found


def _line(finding: Mapping[str, Any]) -> str:
    module = f"{finding.get('module')}: " if finding.get("module") else ""
    what = f"{finding.get('rule')}: {module}{finding.get('what')}"
    if finding.get("allowed"):
        return f"allowed {what} ({finding.get('allowed')})"
    return f"warning {what}: {finding.get('why')}"


def _late(
    spec: ZygoteSpec,
    reads: Mapping[str, list[str]],
    workers: Iterable[WorkerSpec],
    env: Mapping[str, str],
) -> list[str]:
    """Variables that workers set otherwise than the zygote that has read them already."""
    found: dict[str, list[str]] = {}
    for worker in workers:
        for key, value in worker.env.items():
            if key in reads and env.get(key) != value:
                found.setdefault(key, []).append(worker.name)
    return [
        f"warning environ-read: {', '.join(reads[key][:_MANY])}: reads {key} when imported, "
        f"so env of {_named(names)} comes too late: set it in env of [zygote.{spec.name}]"
        for key, names in found.items()
    ]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f"worker {', '.join(names[:_MANY])}{more}"
