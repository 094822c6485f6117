"""`zygotectl stop`: stop workers and keep them stopped."""

from __future__ import annotations

from zygote.cli.options import Json, Names, Timeout
from zygote.cli.results import act
from zygote.control.interface import Result
from zygote.units import parse_seconds


def stop(names: Names = [], /, *, timeout: Timeout = None, as_json: Json = False) -> int:  # noqa: B006
    """Stop workers: stop_signal, after stop_grace SIGKILL to what is left.

    They stay stopped until they are spawned, or the manager starts anew.
    """
    seconds = parse_seconds(timeout) if timeout is not None else None
    return act(
        names,
        lambda manager: manager.stop(names, seconds),
        stopped,
        as_json=as_json,
        waiting=f"stopping {' '.join(names)}",
    )


def stopped(result: Result) -> str:
    """`orders stopped`."""
    return f"{result.name} {'stopped' if result.state == 'inactive' else result.state}"
