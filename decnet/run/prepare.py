"""What must be there before the fleet starts."""

from __future__ import annotations

import os
import subprocess
import sys

from decnet.run.arrange import arrange, give
from decnet.settings import Settings
from decnet.ship.options import KEY, ship_folder
from zygote.errors import ZygoteError


def prepare() -> None:
    """All of it; a second call finds it done.

    Raises:
        ZygoteError: what cannot be made, and why.
    """
    settings = Settings.from_env()
    arrange(settings)
    migrate()
    certificates()
    user = os.environ.get("DECNET_USER", "")
    if user and os.geteuid() == 0:
        give(settings.state_dir, user)


def migrate() -> None:
    """Bring the database to this program's revision, in a process of its own.

    Raises:
        ZygoteError: it said why not.
    """
    done = subprocess.run(
        [sys.executable, "-m", "decnet.db.migrate"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
        raise ZygoteError(
            f"the database cannot be made ready: {said[0]}",
            code="migrate-failed",
            hint=" ".join(said[1:]).replace("hint: ", "").strip(),
            exit_code=done.returncode,
        )


def certificates() -> None:
    """Make the authority and the certificates of this machine's forwarder and listener, once.

    On an agent (DECNET_MODE=agent) they come from its master; nothing is made there, nor where a
    folder has a bundle that somebody put into it.

    Raises:
        ZygoteError: the folder cannot be written.
    """
    folder = ship_folder(Settings.from_env().state_dir)
    if os.environ.get("DECNET_MODE", "").strip().lower() == "agent":
        return
    if (folder / "ca" / "ca.key").exists() or (folder / KEY).exists():
        return
    from decnet.ship.certs import init  # late: needed at the first start only

    init(folder, with_agent=not (folder / "agent" / KEY).exists())
