"""`zygotectl reload`: bring the fleet up to what is on disk, without a gap."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.cli.text import clean
from zygote.client.blocking import BlockingClient
from zygote.control.interface import RollStep
from zygote.errors import Exit, ZygoteError
from zygote.units import format_seconds

Zygotes = Annotated[
    list[str],
    Parameter(name="--zygote", show_default=False, negative=(),
              help="Bake this one anew, and what is forked from it, and move their workers."),
]  # fmt: skip
Workers = Annotated[
    list[str],
    Parameter(name="--worker", show_default=False, negative=(),
              help="Move only this one, a glob, or all instances of a template."),
]  # fmt: skip
Force = Annotated[
    bool, Parameter(show_default=False, help="All zygotes and workers, up to date or not.")
]
File = Annotated[
    bool,
    Parameter(name="--file", show_default=False,
              help="Only read the fleet file again, as SIGHUP does; changed workers wait."),
]  # fmt: skip


Watch = Annotated[
    bool,
    Parameter(name="--watch", show_default=False,
              help="Reload whenever what is on disk has changed, until Ctrl-C: for development."),
]  # fmt: skip


def reload(
    *,
    zygote: Zygotes = [],  # noqa: B006
    worker: Workers = [],  # noqa: B006
    force: Force = False,
    file: File = False,
    watch: Watch = False,
    as_json: Json = False,
) -> int:
    """Bring the fleet up to what is on disk: its file, and the code.

    The fleet file is read again; a wrong one changes nothing. Zygotes that are
    older than their code, or whose keys have changed, are baked anew beside
    those that serve. Then their workers move over, one after another, each
    ready before the one before goes, if it may run twice (overlap). If one
    crashes, is not ready in time, or needs far more memory, all go back. See
    "help reload".
    """
    if watch and (zygote or worker or force or file):
        raise ZygoteError(
            "--watch brings everything up to date", code="usage", exit_code=Exit.USAGE,
            hint="use it without --zygote, --worker, --force and --file",
        )  # fmt: skip
    with BlockingClient(current.socket()) as manager:
        if file:
            _say_changes(_read_file(manager, as_json) or ["nothing changed"], as_json)
            return Exit.DONE
        if watch:
            from zygote.cli import watching

            return watching.watch(manager, lambda: _once(manager, [], [], False, as_json), as_json)
        return _once(manager, zygote, worker, force, as_json)


def _once(
    manager: BlockingClient, zygote: list[str], worker: list[str], force: bool, as_json: bool
) -> int:
    changes = _read_file(manager, as_json)
    steps: list[RollStep] = []
    try:
        for step in manager.roll(zygote, worker, force=force):
            steps.append(step)
            if not as_json:
                if len(steps) == 1:
                    _say_changes(_of_interest(changes), as_json)
                say(step)
                sys.stdout.flush()
    except ZygoteError as error:
        if as_json:
            _write_json(changes, steps, error)
            return error.exit_code
        raise
    if as_json:
        _write_json(changes, steps, None)
    return Exit.DONE


def say(step: RollStep) -> None:
    """One step as a line."""
    if step.step != "done":
        style = {"moved": "green", "baked": "green", "tight": "yellow", "going-back": "red"}
        line = f"{step.subject}: {step.step} {step.detail}".rstrip()
        render.heading(clean(line), style.get(step.step, ""))
    elif step.zygotes or step.workers:
        took = format_seconds(step.seconds)
        baked, moved = counted(step.zygotes, "zygote"), counted(step.workers, "worker")
        render.heading(f"{baked} baked, {moved} moved in {took}")
    else:
        render.heading("nothing to do: all that runs is what is on disk", "")


def counted(number: int, what: str) -> str:
    """`1 zygote`, `3 zygotes`."""
    return f"{number} {what}{'s' * (number != 1)}"


def _read_file(manager: BlockingClient, as_json: bool) -> list[str]:
    try:
        return manager.reload()
    except ZygoteError as error:
        if error.exit_code == Exit.FLEET_FILE and not as_json:
            error.hint += f"; every mistake: zygotectl check {manager.status().file}"
        raise


def _of_interest(changes: list[str]) -> list[str]:
    return [] if changes == ["nothing changed"] else changes


def _say_changes(changes: list[str], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"changes": changes}) + "\n")
        return
    for line in changes:
        render.heading(line, "")


def _write_json(changes: list[str], steps: list[RollStep], error: ZygoteError | None) -> None:
    last = steps[-1] if steps and steps[-1].step == "done" else None
    found = {
        "changes": changes,
        "ok": error is None,
        "zygotes": last.zygotes if last else 0,
        "workers": last.workers if last else 0,
        "seconds": last.seconds if last else None,
        "steps": [asdict(step) for step in steps if step is not last],
        "error": error.as_dict() if error else None,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
