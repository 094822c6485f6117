"""What a program takes for granted, and a newcomer's shell may not give: a folder, open streams."""

from __future__ import annotations

import os
import sys

from zygote.errors import ZygoteError


def hold_standard_streams() -> None:
    """Where stdin, stdout or stderr is closed (`zygotectl ps >&-`) put /dev/null.

    Else the next thing that is opened would take its number, and be written to.
    """
    if sys.stdin and sys.stdout and sys.stderr:
        return
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        os.set_inheritable(fd, True)
        fd = os.dup(fd)
    os.close(fd)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we live


def speak_any_encoding() -> None:
    """A letter that the locale lacks is a question mark, and not the end of the command."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
        if encoding != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def check_folder() -> None:
    """Raise where the current folder has been removed.

    Raises:
        ZygoteError: code no-folder.
    """
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except OSError as error:
        raise ZygoteError(
            "the current folder is not there any more",
            code="no-folder",
            hint="cd to one that is",
            errno=error.errno or 0,
        ) from None
