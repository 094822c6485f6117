"""`zygotectl kill`: send a signal."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from zygote.cli.options import Json, Names
from zygote.cli.results import act
from zygote.cli.stop import stop
from zygote.control.interface import Result


def kill(
    names: Names = [],  # noqa: B006
    /,
    *,
    signal: Annotated[
        str | None, Parameter(name=["--signal", "-s"], help="SIGUSR1, usr1, or its number.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Send a signal to workers; without --signal, the same as stop.

    It goes to their main processes, and nothing else is done: a worker that
    dies of it is restarted as its policy says.
    """
    if signal is None:
        return stop(names, as_json=as_json)

    def sent(result: Result) -> str:
        return f"{result.name} pid={result.pid} got {signal.upper()}"

    return act(
        names,
        lambda manager: manager.kill(names, signal),
        sent,
        as_json=as_json,
        waiting="sending",
    )
