"""`zygotectl refork`: a warm worker becomes the mold of its zygote's next generation."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.cli.reload import counted, say
from zygote.cli.text import clean
from zygote.client.blocking import BlockingClient
from zygote.control.interface import RollStep
from zygote.errors import Exit, ZygoteError
from zygote.units import format_seconds

Name = Annotated[str, Parameter(help="A worker with `refork = true` that is ready, and warm.")]
Move = Annotated[
    bool,
    Parameter(show_default=False, negative=(),
              help="Move the workers of that zygote over, one after another, as reload does."),
]  # fmt: skip


def refork(worker: Name, /, *, move: Move = False, as_json: Json = False) -> int:
    """Fork a warm worker to be the next generation of its zygote.

    The worker goes on as if nothing were. Its fork gives up the event loop,
    sockets and files, is audited, and serves from then on; if anything is
    left that must not be shared, the old generation serves on, and the reason
    is told. All that the worker has in memory is in the memory of every later
    worker: see "help refork".
    """
    steps: list[RollStep] = []
    try:
        with BlockingClient(current.socket()) as manager:
            for step in manager.refork(worker, move=move):
                steps.append(step)
                if not as_json and step.step == "done":
                    took = format_seconds(step.seconds)
                    moved = f", {counted(step.workers, 'worker')} moved" if move else ""
                    line = f"{worker} is the mold of what starts from now on{moved}, {took}"
                    render.heading(clean(line))
                elif not as_json:
                    say(step)
    except ZygoteError as error:
        if as_json:
            _write(steps, error)
            return error.exit_code
        raise
    if as_json:
        _write(steps, None)
    return Exit.DONE


def _write(steps: list[RollStep], error: ZygoteError | None) -> None:
    found = {
        "ok": error is None,
        "steps": [asdict(step) for step in steps],
        "error": error.as_dict() if error else None,
    }
    sys.stdout.write(json.dumps(found) + "\n")
