"""`decnetctl ca`: the certificates that forwarder and listener know each other by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from decnet.cli.rest import say
from decnet.settings import Settings
from decnet.ship.options import ship_folder
from zygote.errors import Exit, ZygoteError


def ca(
    action: Literal["init", "issue"],
    name: str | None = None,
    /,
    *,
    out: Path | None = None,
    server: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Make certificates for shipping logs between machines.

    `ca init` makes the authority on the master, and the listener's own certificate. `ca issue
    NAME` makes a folder for the machine NAME: copy its three files there, into DECNET_SHIP_DIR.

    Args:
        action: init, or issue.
        name: issue: the machine; its lines are filed under this name.
        out: issue: write the three files into this folder.
        server: issue: for a listener, not for a forwarder.
    """
    from decnet.ship import certs  # late: cryptography

    folder = ship_folder(Settings.from_env().state_dir)
    if action == "init":
        if name is not None:
            raise ZygoteError("init takes no name", exit_code=Exit.USAGE)
        made = certs.init(folder)
        say(f"{folder / 'ca'}: {'made' if made else 'is there already, nothing to do'}")
        return
    if name is None:
        raise ZygoteError(
            "issue for which machine?", hint="decnetctl ca issue NAME", exit_code=Exit.USAGE
        )
    target = certs.issue(
        folder, name, is_server=server, out=None if out is None else out.absolute()
    )
    for file in ("ca.crt", "worker.crt", "worker.key"):
        say(str(target / file))
