"""What must be there before the fleet starts. As a program: `python -m decnet.run.prepare`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from decnet.run.arrange import arrange, give
from decnet.settings import Settings
from decnet.ship.options import KEY, ship_folder
from zygote.errors import Exit, ZygoteError

_LOCK = ".prepare"


def prepare() -> None:
    """All of it; a second call finds it done, and one at the same time waits.

    Raises:
        ZygoteError: what cannot be made, and why.
    """
    settings = Settings.from_env()
    with _alone(settings.state_dir):
        arrange(settings)
        migrate()
        certificates()
        user = os.environ.get("DECNET_USER", "")
        if user and os.geteuid() == 0:
            give(settings.state_dir, user)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Zygotes that are units of their own start at once, and each prepares."""
    lock = os.open(state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


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


def main() -> int:
    """Prepare; what is wrong is told in two lines. Returns an exit code."""
    try:
        prepare()
    except ZygoteError as error:
        print(f"decnet: {error.message}\n  hint: {error.hint}", file=sys.stderr, flush=True)
        return error.exit_code or Exit.FAILED
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
