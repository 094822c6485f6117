"""Workers' lines out of systemd's journal, where the manager was started with --log journal.

Each worker has an identifier of its own there, FLEET/NAME: `journalctl -t decnet/profiler`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from zygote.errors import Exit, ZygoteError
from zygote.sys.logfile import JOURNAL_MARKER

_PREFIX = "journal:"


def identifier_of(log: str) -> str:
    """Of the `log` of a worker's state; "" if that is a file."""
    return log.removeprefix(_PREFIX) if log.startswith(_PREFIX) else ""


def prefix_of(folder: Path) -> str:
    """What the identifiers of a fleet begin with, "FLEET/"; "" if its logs are files."""
    try:
        return f"{(folder / JOURNAL_MARKER).read_text().strip()}/"
    except OSError:
        return ""


def names(prefix: str) -> list[str]:
    """Whoever has written to the journal under a prefix, without it."""
    found = _ask("-F", "SYSLOG_IDENTIFIER")
    return sorted(each.removeprefix(prefix) for each in found if each.startswith(prefix))


def read_tail(identifier: str, lines: int) -> list[str]:
    """The last lines of one.

    Raises:
        OSError: there is no journalctl.
    """
    return _ask("-t", identifier, "-n", str(lines), "-o", "cat")


def show(identifiers: Sequence[str], lines: int, *, follow: bool) -> int:
    """Become journalctl. Never returns.

    Raises:
        ZygoteError: code no-journalctl.
    """
    form = "cat" if len(identifiers) == 1 else "short"
    words = ["journalctl", "--quiet", "-o", form, "-n", str(lines)]
    words += ["-f"] if follow else ["--no-pager"]
    for identifier in identifiers:
        words += ["-t", identifier]
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise ZygoteError(
            "the logs are in systemd's journal, and journalctl cannot be run",
            code="no-journalctl",
            hint="install systemd's tools, or start the manager with --log file",
            errno=error.errno or 0,
            exit_code=Exit.FAILED,
        ) from None


def _ask(*words: str) -> list[str]:
    command = ["journalctl", "--quiet", "--no-pager", *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout.splitlines()
