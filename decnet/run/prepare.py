"""What must be there before the fleet starts."""

from __future__ import annotations

import subprocess
import sys

from zygote.errors import ZygoteError


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
