"""Options that several commands have, so that they are spelled and explained the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext


def complete_worker(context: CompletionContext) -> list[str]:
    """Names for the TAB key: of the running manager, or else of the fleet file."""
    from zygote.cli.names import known_workers

    return known_workers()


def complete_log(context: CompletionContext) -> list[str]:
    """As `complete_worker`, and the logs of zygotes."""
    from zygote.cli.names import known_logs

    return known_logs()


Json = Annotated[
    bool,
    Parameter(name="--json", show_default=False, help="JSON, with bare bytes, KiB and seconds."),
]
Follow = Annotated[
    bool,
    Parameter(
        name=["--follow", "-f"], show_default=False, help="Go on with what comes; Ctrl-C ends it."
    ),
]
Names = Annotated[
    list[str],
    Parameter(
        name="names",
        show_default=False,
        help="Workers: names, globs ('decoy@*'), or a template ('decoy@': all its instances).",
        completer=complete_worker,
    ),
]
LogNames = Annotated[
    list[str],
    Parameter(
        name="names",
        show_default=False,
        help="Workers (names or globs), zygote.NAME, or manager. Default: all workers.",
        completer=complete_log,
    ),
]
Timeout = Annotated[
    str | None,
    Parameter(name="--timeout", help="Wait at most so long: 10s, 2min. Default: as configured."),
]
Wait = Annotated[
    Literal["ready", "up", "no"],
    Parameter(
        help="Until it is ready (it says so, or is up if it says nothing), until it is up "
        "(its set-up is done), or not at all."
    ),
]
