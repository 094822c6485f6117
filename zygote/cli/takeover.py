"""`zygotectl import`: another manager's file as a fleet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli.drafts import Force, Print, deliver
from zygote.cli.options import Json
from zygote.draft.sources import Kind, summary, take


def take_over(
    file: Annotated[Path, Parameter(help="supervisord.conf, Procfile, circus.ini, "
                                    "gunicorn.conf.py or NAME.service.")],
    /,
    *,
    kind: Annotated[
        Kind | None, Parameter(name=["--format"], help="Whose file it is; default: seen from it.")
    ] = None,
    force: Force = False,
    dry_run: Print = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Make a fleet.toml, in the current folder, of another manager's file.

    What it could not carry over is named, key by key, on stderr and at the
    end of the new file. Nothing is run: gunicorn.conf.py is read as text.
    A fleet.toml that is there already is not overwritten.
    """
    home = Path.cwd()
    draft = take(file.absolute(), home, kind)
    return deliver(draft, home, summary, force=force, dry_run=dry_run, as_json=as_json)
