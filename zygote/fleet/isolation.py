"""`isolation`: workers that share no address layout, stack canary and hash seed with the others.

A class of workers gets zygotes of its own, made like those that its workers name, but from an exec
of its own: `floor` for the class `web` is the zygote `floor:web`. Where the zygote is a branch,
so are all above it: a branch has the layout of the process that it was forked from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zygote.fleet.model import WorkerSpec, ZygoteSpec

FIXED_SEED = "PYTHONHASHSEED"
"""Where the fleet file sets it, no exec draws another hash seed."""


def place(spec: WorkerSpec, zygotes: dict[str, ZygoteSpec]) -> WorkerSpec:
    """The worker on the zygote of its class, which is added to `zygotes` with those above it."""
    name = spec.isolation.removeprefix("class:")
    if name == spec.isolation:
        return spec
    return replace(spec, zygote=_copy(spec.zygote, name, zygotes))


def warn(spec: WorkerSpec, tell: Callable[[str, str], None]) -> None:
    """What makes an isolation less than it says.

    Args:
        tell: takes a key of the worker, and a line.
    """
    if spec.isolation == "none":
        return
    seed = spec.env.get(FIXED_SEED, "random")
    if seed != "random":
        tell("isolation", f"{FIXED_SEED}={seed} is set: the hash seed is shared all the same")


def is_of_class(zygote: str) -> bool:
    """Whether a zygote is a class's own. No table of a fleet file can have such a name."""
    return ":" in zygote


def _copy(name: str, of_class: str, zygotes: dict[str, ZygoteSpec]) -> str:
    own = f"{name}:{of_class}"
    if own not in zygotes:
        spec = zygotes[name]
        parent = _copy(spec.parent, of_class, zygotes) if spec.parent in zygotes else ""
        zygotes[own] = replace(spec, name=own, parent=parent)
    return own
