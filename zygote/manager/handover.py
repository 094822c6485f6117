"""What a manager hands to the one that takes its place in the same process, by `zygotectl reexec`.

One JSON object in a memfd that stays open over execve(2), like every descriptor that the object
names by its number: lock, sockets, pidfds, links to zygotes. What each part holds stands in
`carried`, where it is written and read.

The new code is asked first, with the state as it is then: `python -m zygote.manager --check-state
FD` reads all of it, starts nothing, and says whether it could take over. So code that cannot be
imported, or reads another format, changes nothing.

Format history: 1 first version.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from zygote import __version__
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet, worker_from_json, zygote_from_json
from zygote.manager import plain

FORMAT = 1
KEY = "format"


@dataclass(frozen=True, slots=True)
class Handover:
    """A state that this code can take over.

    Attributes:
        data: see `carried`.
        fleet: as it held; the file may have changed since.
    """

    data: dict[str, Any]
    fleet: Fleet


def write(data: dict[str, Any]) -> int:
    """A memfd with the state; the caller's."""
    memfd = os.memfd_create("zygote-handover", os.MFD_CLOEXEC)
    with open(memfd, "wb", closefd=False) as file:
        file.write(json.dumps({KEY: FORMAT, "version": __version__, **data}).encode())
    return memfd


def read(memfd: int) -> Handover:
    """Read a state, which stays as it is.

    Raises:
        ZygoteError: code "state-format": of another format; "state-unreadable".
    """
    try:
        size = os.fstat(memfd).st_size
        data = json.loads(os.pread(memfd, size, 0))
        found, by = data[KEY], data.get("version", "unknown")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from error
    if found != FORMAT:
        raise ZygoteError(
            f"the state is of format {found!r}, written by version {by}; version {__version__} "
            f"reads format {FORMAT}",
            code="state-format",
            hint="stop the fleet and start it with the new version: zygotectl down, up; or install "
            "a version that reads this format",
        )
    try:
        return Handover(data, _understood(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(error) from error


def check(memfd: int) -> int:
    """`--check-state`: answer on stdout with one line of JSON; the exit code."""
    try:
        read(memfd)
    except ZygoteError as error:
        sys.stdout.write(json.dumps({"error": error.as_dict()}) + "\n")
        return Exit.FAILED
    sys.stdout.write(json.dumps({"ok": True, "version": __version__}) + "\n")
    return Exit.DONE


def _understood(data: dict[str, Any]) -> Fleet:
    """Make everything of it that can be made without a process."""
    for worker in data["workers"]:
        worker_from_json(worker["record"]["spec"])
        if worker["pending"]:
            worker_from_json(worker["pending"])
        for part in ("unit", "policy", "budget"):
            for value in worker[part].values():
                plain.decode(value)
    for zygote in data["zygotes"]:
        zygote_from_json(zygote["spec"])
    return Fleet.from_json(data["fleet"])


def _unreadable(error: Exception) -> ZygoteError:
    return ZygoteError(
        f"version {__version__} cannot read the state: {type(error).__name__}: {error}",
        code="state-unreadable",
        hint="stop the fleet and start it with the new version: zygotectl down, up",
    )
