"""The options that every command has, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from zygote.cli.context import current

if TYPE_CHECKING:
    from cyclopts import App

_GROUP = Group("Everywhere", sort_key=99)
Words = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]
Fleet = Annotated[
    Path | None,
    Parameter(
        group=_GROUP,
        help="The fleet file; also -f before the command, or $ZYGOTE_FLEET.",
    ),
]
Runtime = Annotated[
    Path | None, Parameter(group=_GROUP, help="The manager's folder; also $ZYGOTE_RUNTIME_DIR.")
]


def launcher(app: App) -> Callable[..., object]:
    """What takes the options for everywhere and hands the rest to the app."""

    def launch(*words: Words, fleet: Fleet = None, runtime_dir: Runtime = None) -> object:
        """Run a command."""
        current.fleet = str(fleet) if fleet else current.fleet
        current.runtime = str(runtime_dir) if runtime_dir else current.runtime
        return app(words, exit_on_error=False, print_error=False, result_action="return_value")

    return launch
