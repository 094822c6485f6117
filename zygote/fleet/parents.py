"""Zygotes that are forked from another one: `parent`, checked, and what they have of it."""

from __future__ import annotations

from dataclasses import replace

from zygote.fleet.model import ZygoteSpec
from zygote.fleet.plan import start_order
from zygote.fleet.problems import Problems
from zygote.fleet.words import LATE_VARIABLES, did_you_mean, listed


def inherit(zygotes: dict[str, ZygoteSpec], problems: Problems) -> dict[str, ZygoteSpec]:
    """The zygotes, parents before their branches, each with its parent's env and path.

    A branch runs in its parent's interpreter: `python` is the parent's, and variables that an
    interpreter reads at its start come too late.
    """
    for name, spec in zygotes.items():
        if spec.parent and spec.parent not in zygotes:
            problems.error(
                ("zygote", name, "parent"), "no such zygote", value=spec.parent,
                hint=did_you_mean(spec.parent, zygotes, f"the file has {listed(zygotes)}"),
                code="unknown-zygote",
            )  # fmt: skip
    order, cycles = start_order({n: [s.parent] if s.parent else [] for n, s in zygotes.items()})
    for cycle in cycles:
        way = " → ".join(cycle)
        problems.error(
            ("zygote", cycle[0], "parent"),
            "it is its own parent" if len(cycle) == 2 else f"a cycle: {way}",
            hint="one of them must start from nothing: take its `parent` away", code="cycle",
        )  # fmt: skip
    found: dict[str, ZygoteSpec] = {}
    for name in order:
        spec = zygotes[name]
        parent = found.get(spec.parent)
        found[name] = _branch(spec, parent, problems) if parent else spec
    return found | {name: spec for name, spec in zygotes.items() if name not in found}


def _branch(spec: ZygoteSpec, parent: ZygoteSpec, problems: Problems) -> ZygoteSpec:
    table = ("zygote", spec.name)
    if spec.python and spec.python != parent.python:
        problems.error(
            (*table, "python"), f"it is forked from '{parent.name}', whose interpreter it has",
            value=spec.python, code="conflict",
            hint=f"set python in [zygote.{parent.name}], or take `parent` away",
        )  # fmt: skip
    if spec.user and spec.user != parent.user:
        problems.error(
            (*table, "user"), f"it is forked from '{parent.name}', and imports as that one does",
            value=spec.user, code="conflict",
            hint=f"set user in [zygote.{parent.name}], or take `parent` away",
        )  # fmt: skip
    for variable in spec.env:
        if variable.startswith(LATE_VARIABLES):
            problems.warn(
                (*table, "env", variable),
                "it is read when an interpreter starts, and its parent's runs already: set it in "
                f"env of [zygote.{parent.name}]",
            )
    return replace(
        spec,
        python=parent.python,
        user=parent.user,
        env={**parent.env, **spec.env},
        path=(*spec.path, *(folder for folder in parent.path if folder not in spec.path)),
    )
