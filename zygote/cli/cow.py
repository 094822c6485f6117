"""`zygotectl cow`: why a process's memory is not shared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from zygote.cli import cow_targets, cow_text, render
from zygote.cli.options import Json, Names
from zygote.cli.progress import Progress
from zygote.errors import Exit, ZygoteError
from zygote.inspect.compare import Comparison
from zygote.inspect.report import Report, from_dict

TOP = 12

Pid = Annotated[int | None, Parameter(name="--pid", show_default=False,
    help="A forked process of any program, in no fleet of ours.")]  # fmt: skip
Parent = Annotated[int | None, Parameter(name="--parent", show_default=False,
    help="The process that --pid was forked from; default: its parent.")]  # fmt: skip
Whole = Annotated[bool, Parameter(name="--all", show_default=False,
    help="All workers: where the fleet's private memory comes from. --fleet alone means it, too.",
)]  # fmt: skip
Top = Annotated[int | None, Parameter(name="--top", show_default=False,
    help=f"So many objects. Default: {TOP}; as JSON, all.")]  # fmt: skip
Save = Annotated[Path | None, Parameter(name="--save", show_default=False,
    help="Write a snapshot there, to compare with later.")]  # fmt: skip
Diff = Annotated[Path | None, Parameter(name="--diff", show_default=False,
    help="Show what has changed since that snapshot.")]  # fmt: skip
Plot = Annotated[Path | None, Parameter(name="--plot", show_default=False,
    help="Draw the memory as a map, a pixel a page, a colour a cause: a PNG.")]  # fmt: skip
NoWitness = Annotated[bool, Parameter(name="--no-witness", show_default=False,
    help="Start no process of our own: whom dicts and lists belong to is looked for in memory.",
)]  # fmt: skip


def cow(
    names: Names = [],  # noqa: B006
    /,
    *,
    pid: Pid = None,
    parent: Parent = None,
    fleet: Whole = False,
    top: Top = None,
    save: Save = None,
    diff: Diff = None,
    plot: Plot = None,
    no_witness: NoWitness = False,
    as_json: Json = False,
) -> int:
    """Tell why a worker's memory is not shared: causes, objects, and what would help.

    zygotectl cow WORKER                  one worker, beside its zygote
    zygotectl cow --fleet                 all of them
    zygotectl cow --pid 812 --parent 800  any forked Python, in no fleet

    Its private pages are compared with those of the zygote it was forked from.
    Nothing is written to either; names come from a witness, a short-lived
    fork of the same zygote. A row's ALONE is what would be shared again if
    nothing else changed. More: docs/why-dirty.md.
    """
    _check(names, pid, parent, fleet, bool(save or diff or plot))
    drawing = _picture() if plot else None
    earlier = _load(diff) if diff else None
    with Progress("looking at memory", quiet=as_json or not sys.stderr.isatty()) as progress:
        if pid is not None:
            targets = [cow_targets.of_pid(pid, parent)]
        else:
            targets = cow_targets.of_workers(None if fleet else names)
        looked = cow_targets.look(targets, progress, witness=not no_witness)
    reports = [report for _, report in looked]
    if save:
        save.write_text(json.dumps(reports[0].as_dict()) + "\n")
    if drawing and plot:
        drawing(looked[0], plot)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(reports, fleet, top, earlier)) + "\n")
        return Exit.DONE
    if fleet:
        cow_text.show_fleet(reports, top or TOP)
        return Exit.DONE
    for number, report in enumerate(reports):
        if number:
            sys.stdout.write("\n")
        if earlier:
            cow_text.show_changes(earlier, report, top or TOP)
        else:
            cow_text.show(report, top or TOP)
    for name, path in (("snapshot", save), ("picture", plot)):
        if path:
            render.lines([(name, str(path), "")])
    return Exit.DONE


def _check(names: list[str], pid: int | None, parent: int | None, fleet: bool, one: bool) -> None:
    """One kind of target.

    Raises:
        ZygoteError: code usage.
    """
    given = [bool(names), pid is not None, fleet]
    if sum(given) != 1:
        fault = "cow takes workers, or --pid, or --fleet" if any(given) else "nothing to look at"
        raise _usage(fault, "zygotectl cow WORKER; cow --fleet; cow --pid PID --parent PID")
    if parent is not None and pid is None:
        raise _usage("--parent goes with --pid", "cow --pid CHILD --parent PARENT")
    if one and (fleet or len(names) > 1):
        raise _usage("--save, --diff and --plot are for one process", "name one worker")


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)


def _load(path: Path) -> Report:
    try:
        return from_dict(json.loads(path.read_text()), str(path))
    except (OSError, ValueError) as error:
        raise ZygoteError(
            f"cannot read snapshot {path}: {error}",
            code="not-a-snapshot",
            hint="make one with --save FILE",
            exit_code=Exit.USAGE,
        ) from None


def _picture() -> Any:
    """The function that draws; asked for first, so that nothing is looked at in vain."""
    try:
        from zygote.inspect import picture
    except ImportError as error:
        raise ZygoteError(
            f"cannot draw: {error}",
            code="no-matplotlib",
            hint="pip install 'zygote-fleet[plot]' (or matplotlib)",
        ) from None

    def draw(looked: tuple[Comparison, Report], path: Path) -> None:
        picture.draw(*looked, path)

    return draw


def _as_json(
    reports: list[Report], fleet: bool, top: int | None, earlier: Report | None
) -> dict[str, Any]:
    if fleet:
        return cow_text.fleet_as_dict(reports, top)
    found = [report.as_dict(top) for report in reports]
    if earlier:
        found[0]["since"] = cow_text.changes_as_dict(earlier, reports[0], top)
    return found[0] if len(found) == 1 else {"workers": found}
