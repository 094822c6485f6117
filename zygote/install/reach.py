"""Whether users of a fleet other than root can read what their processes run.

A Python below /root is the usual case: root's shell finds it, a worker's user does not, and the
start would fail far away from here, at an import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet

_PACKAGE = Path(__file__).parents[1]


def check(fleet: Fleet, python: str) -> None:
    """Pass if all that is needed may be read by anybody, or nobody else is in the file.

    Raises:
        ZygoteError: code unreachable; names the folder.
    """
    named = [zygote.user for zygote in fleet.zygotes.values()]
    named += [spec.user for spec in (*fleet.workers.values(), *fleet.templates.values())]
    users = sorted({user for user in named if user and user not in ("root", "0")})
    if not users:
        return
    for path in (python, os.path.realpath(python), sys.base_prefix, str(_PACKAGE)):
        for folder in closed(Path(path)):
            raise ZygoteError(
                f"{folder} is closed to others, and {path} is in it: user '{users[0]}' of the "
                "fleet file cannot run that",
                code="unreachable",
                hint=f"chmod o+x {folder}; or have Python and the package where all may read "
                "them, such as /opt",
            )


def closed(path: Path) -> Iterator[Path]:
    """The folders on the way to a path that others may not pass, from the top."""
    for folder in reversed(path.absolute().parents):
        if folder.is_dir() and not folder.stat().st_mode & 0o001:
            yield folder
