"""`zygotectl spawn`: start workers."""

from __future__ import annotations

from zygote.cli.options import Json, Names, Timeout, Wait
from zygote.cli.render import milliseconds
from zygote.cli.results import act
from zygote.control.interface import Result
from zygote.units import parse_seconds


def spawn(
    names: Names = [],  # noqa: B006
    /,
    *,
    wait: Wait = "ready",
    timeout: Timeout = None,
    as_json: Json = False,
) -> int:
    """Start workers, and those that they come after.

    Running ones are left as they are. A new instance of a template is named with it: decoy@ssh-01.
    """
    seconds = parse_seconds(timeout) if timeout is not None else None
    return act(
        names,
        lambda manager: manager.spawn(names, wait, seconds),
        started,
        as_json=as_json,
        waiting=f"waiting for {' '.join(names)}",
    )


def started(result: Result) -> str:
    """`orders ready pid=812 spawned in 2.4ms`."""
    pid = f" pid={result.pid}" if result.pid else ""
    took = f" spawned in {milliseconds(result.spawn_ms)}" if result.spawn_ms is not None else ""
    return f"{result.name} {result.state}{pid}{took}"
