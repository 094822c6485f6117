"""Worker specs with the least said."""

from __future__ import annotations

from typing import Any

from zygote.fleet.model import Fleet, Run, WorkerSpec, ZygoteSpec


def worker_spec(name: str = "web", **keys: Any) -> WorkerSpec:
    """A worker `name` on the zygote "floor"."""
    keys.setdefault("run", Run("function", "tiny:sleeper"))
    return WorkerSpec(name=name, zygote="floor", **keys)


def fleet_of(
    *workers: WorkerSpec, templates: tuple[WorkerSpec, ...] = (), zygotes: tuple[str, ...] = ()
) -> Fleet:
    """A checked fleet; the workers are given in start order."""
    return Fleet(
        name="test",
        file="/nowhere/fleet.toml",
        digest="0" * 64,
        zygotes={name: ZygoteSpec(name) for name in zygotes or ("floor",)},
        workers={spec.name: spec for spec in workers},
        templates={spec.name: spec for spec in templates},
        order=tuple(spec.name for spec in workers),
    )
