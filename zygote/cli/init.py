"""`zygotectl init`: a fleet file for the project in a folder, guessed from its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli.context import current
from zygote.cli.drafts import Force, Print, deliver
from zygote.cli.options import Json
from zygote.draft.project import guesses, scan


def init(
    folder: Annotated[Path, Parameter(help="The project; default: the current folder.")] = Path(),
    /,
    *,
    force: Force = False,
    dry_run: Print = False,
    as_json: Json = False,
) -> int:
    """Write a commented fleet.toml for the project in this folder.

    It finds entry points ([project.scripts], __main__.py, FastAPI, Flask,
    Django and Celery applications, files that can be run), proposes what to
    preload from what they import, and says what it guessed. Sources are read,
    never imported or run. A file that is there already is not overwritten.
    """
    place = folder.absolute()
    draft = scan(place, current.program)
    return deliver(draft, place, guesses, force=force, dry_run=dry_run, as_json=as_json)
