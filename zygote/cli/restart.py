"""`zygotectl restart`: stop workers and start them again."""

from __future__ import annotations

from zygote.cli.options import Json, Names, Timeout
from zygote.cli.results import act
from zygote.cli.spawn import started
from zygote.units import parse_seconds


def restart(names: Names = [], /, *, timeout: Timeout = None, as_json: Json = False) -> int:  # noqa: B006
    """Stop workers, start them, and wait until they are ready.

    An inactive one is started.
    """
    seconds = parse_seconds(timeout) if timeout is not None else None
    return act(
        names,
        lambda manager: manager.restart(names, seconds),
        started,
        as_json=as_json,
        waiting=f"restarting {' '.join(names)}",
    )
