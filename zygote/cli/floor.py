"""`zygotectl floor`: what imports cost, and what to preload."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import floor_table, render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.cli.progress import Progress
from zygote.errors import Exit, ZygoteError
from zygote.fleet.load import check as check_file
from zygote.fleet.model import Fleet, ZygoteSpec
from zygote.inspect import floor as measuring
from zygote.inspect.floor import Place
from zygote.units import parse_bytes

Modules = Annotated[
    list[str],
    Parameter(
        name="modules", show_default=False,
        help="Each is a layer added to those before it; a,b is one layer of two. Default: the "
        "preload of the fleet file's zygote. With --from-running: workers.",
    ),
]  # fmt: skip
Each = Annotated[
    bool, Parameter(show_default=False, help="Each layer alone, over a bare interpreter.")
]
Deep = Annotated[
    bool,
    Parameter(show_default=False, help="Which imports inside the last layer cost what."),
]
FromRunning = Annotated[
    bool,
    Parameter(
        show_default=False,
        help="What the running fleet's workers imported after their fork, and what to preload.",
    ),
]


def floor(
    modules: Modules = [],  # noqa: B006
    /,
    *,
    each: Each = False,
    deep: Deep = False,
    from_running: FromRunning = False,
    repeat: Annotated[int, Parameter(help="Measure so often; figures are medians.")] = 1,
    top: Annotated[int, Parameter(help="Rows of --deep; 0: all.")] = 20,
    at_least: Annotated[
        int, Parameter(help="--from-running proposes what so many workers imported.")
    ] = 2,
    python: Annotated[Path | None, Parameter(help="Another interpreter.")] = None,
    cwd: Annotated[Path | None, Parameter(help="Another folder to import from.")] = None,
    tree: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="--from-running proposes branches as well: who imports what, in which zygote.",
        ),
    ] = False,
    budget: Annotated[
        str | None, Parameter(help="--tree: what the whole fleet may take (400M).")
    ] = None,
    zygote: Annotated[
        str | None, Parameter(help="Python, path, env, cwd (and preload) of this zygote.")
    ] = None,
    plot: Annotated[Path | None, Parameter(help="Draw a picture into this file.")] = None,
    as_json: Json = False,
) -> int:
    """Measure what importing modules costs: memory, time, threads, descriptors.

    zygotectl floor sqlalchemy,pydantic shop.models shop.web
    zygotectl floor --from-running

    Every figure is of a fresh interpreter that does nothing but import. The
    modules are imported once before, so that their bytecode is compiled. The
    program need not be a fleet: --python and --cwd name any.

    What a layer adds once is what a fleet of cold processes pays once each.
    --from-running looks at live workers instead, without touching them, and
    prints the preload list that would save most. With --tree it proposes
    branches, so that no worker gets what it does not use; --budget allows as
    much of that as it takes to keep to it (exit code 1: no tree does).
    """
    if repeat < 1 or at_least < 1 or top < 0:
        raise _usage("--repeat and --at-least are at least 1, --top at least 0",
                     "leave them out: --repeat 1 --at-least 2 --top 20")  # fmt: skip
    if from_running:
        if each or deep or plot or python or cwd or zygote:
            raise _usage("--from-running takes workers, --at-least, --tree and --json only",
                         "without it the other options are for modules")  # fmt: skip
        return _from_running(modules, at_least, as_json, tree=tree, budget=budget)
    if tree or budget:
        raise _usage("--tree and --budget are about running workers",
                     "zygotectl floor --from-running --tree")  # fmt: skip
    layers, place = _what(modules, python, cwd, zygote)
    if deep and (each or plot or repeat > 1):
        raise _usage("--deep measures once, over the layers before the last",
                     "leave out --each, --repeat and --plot")  # fmt: skip
    with Progress("measuring", quiet=as_json and not sys.stderr.isatty()) as progress:
        if deep:
            blamed = measuring.blame(layers, place, lambda text: progress.show([text]))
        else:
            found = measuring.measure(
                layers, place, repeat=repeat, each=each, tell=lambda text: progress.show([text])
            )
            if plot:
                from zygote.inspect import bars

                bars.draw(found, plot)
    if deep:
        floor_table.show_blamed(layers, blamed, top, as_json=as_json)
        return Exit.DONE
    if as_json:
        sys.stdout.write(json.dumps(found.as_json()) + "\n")
    else:
        floor_table.show_floor(found)
        if plot:
            render.heading(f"picture: {plot}", "dim")
    return Exit.DONE


def _what(
    modules: Sequence[str], python: Path | None, cwd: Path | None, zygote: str | None
) -> tuple[list[str], Place]:
    """The layers and where to import them."""
    place = Place(sys.executable)
    layers = list(modules)
    if zygote or not layers:
        chain = find_zygotes(zygote)
        spec = chain[-1]
        env = {**os.environ, **spec.env}
        paths = [*spec.path, *filter(None, [env.get("PYTHONPATH")])]
        if paths:
            env["PYTHONPATH"] = os.pathsep.join(paths)
        place = Place(spec.python or sys.executable, spec.cwd or None, env)
        layers = layers or [module for each in chain for module in each.preload]
        if not layers:
            raise _usage(f"zygote '{spec.name}' preloads nothing, and no module is named",
                         "zygotectl floor MODULE…")  # fmt: skip
    for name in layers:
        if not measuring.modules_of(name) or any(c.isspace() for c in name):
            raise _usage(f"no module can be called {name!r}", "zygotectl floor json asyncio")
    if python:
        place = place._replace(python=str(python))
    if cwd:
        place = place._replace(cwd=str(cwd))
    return layers, place


def find_zygotes(name: str | None) -> list[ZygoteSpec]:
    """A zygote of the fleet file, the last of the list, behind those that it is forked from.

    Args:
        name: None: the only one, or "floor", or the first.
    Raises:
        ZygoteError: no fleet file, or a wrong one; no such zygote.
    """
    fleet = load(current.fleet_file())
    if name is None:
        chosen = fleet.zygotes.get("floor") or next(iter(fleet.zygotes.values()))
    elif name in fleet.zygotes:
        chosen = fleet.zygotes[name]
    else:
        raise _usage(f"{fleet.file} has no zygote '{name}'",
                     f"it has {', '.join(fleet.zygotes)}")  # fmt: skip
    chain = [chosen]
    while chain[0].parent:
        chain.insert(0, fleet.zygotes[chain[0].parent])
    return [replace(spec, cwd=spec.cwd or str(Path(fleet.file).parent)) for spec in chain]


def load(path: Path) -> Fleet:
    """A fleet file that is well.

    Raises:
        ZygoteError: its first mistake.
    """
    fleet, errors = check_file(path)
    if fleet is None:
        errors[0].exit_code = Exit.FLEET_FILE
        raise errors[0]
    return fleet


def _from_running(
    workers: Sequence[str], at_least: int, as_json: bool, *, tree: bool, budget: str | None
) -> int:
    from zygote.inspect import running

    if budget and not tree:
        raise _usage("--budget is for --tree", "zygotectl floor --from-running --tree --budget …")
    limit = parse_bytes(budget) if budget else None

    def preloads() -> Mapping[str, Sequence[str]]:
        try:
            fleet = load(current.fleet_file())
        except ZygoteError:  # a manager named by its folder alone
            return {}
        return {name: spec.preload for name, spec in fleet.zygotes.items()}

    with Progress("looking", quiet=as_json and not sys.stderr.isatty()) as progress:
        proposals = running.look(
            current.socket(), workers, preloads, at_least=at_least,
            tell=lambda text: progress.show([text]),
        )  # fmt: skip
        if tree:
            from zygote.cli import floor_tree

            progress.show(["planning the tree"])
            forest = floor_tree.plan(current.socket(), proposals, limit)
    if tree:
        return Exit.DONE if floor_tree.show(forest, as_json=as_json) else Exit.FAILED
    if as_json:
        sys.stdout.write(json.dumps(running.as_json(proposals)) + "\n")
    else:
        for proposal in proposals:
            floor_table.show_proposal(proposal, at_least)
    return Exit.DONE


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
