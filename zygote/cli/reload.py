"""`zygotectl reload`: have the fleet file read again."""

from __future__ import annotations

import json
import sys

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.client.api import BlockingClient
from zygote.errors import Exit, ZygoteError


def reload(*, as_json: Json = False) -> int:
    """Read the fleet file again, as SIGHUP to the manager does.

    A wrong file changes nothing. New workers are started, removed ones
    stopped; a changed one runs on as it is until its next start.
    """
    with BlockingClient(current.socket()) as manager:
        try:
            changes = manager.reload()
        except ZygoteError as error:
            if error.exit_code == Exit.FLEET_FILE and not as_json:
                error.hint += f"; every mistake: zygotectl check {manager.status().file}"
            raise
    if as_json:
        sys.stdout.write(json.dumps({"changes": changes}) + "\n")
        return 0
    for line in changes or ["nothing changed"]:
        render.heading(line, "")
    return 0
