"""Why a spawn came to nothing, as errors that name the way out."""

from __future__ import annotations

import errno
from typing import Any

from zygote.errors import ZygoteError, describe_errno
from zygote.manager.policy import End

TRANSIENT = frozenset(
    (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EBUSY)
)
"""Faults that trying again may cure."""


def is_transient(error: ZygoteError) -> bool:
    """True if trying again may help."""
    return error.errno in TRANSIENT or error.code in ("died-in-setup", "cgroup")


def step_error(name: str, parts: dict[str, Any]) -> ZygoteError:
    """The child, or the zygote, told which step failed."""
    step, number = str(parts.get("step", "")), int(parts.get("errno") or 0)
    detail = str(parts.get("detail") or "")
    fault = describe_errno(number) or detail or "failed"
    if number and detail:
        fault = f"{detail}: {fault}"
    return ZygoteError(
        f"cannot start '{name}': {step}: {fault}",
        code="spawn-failed",
        step=step,
        errno=number,
        hint=str(parts.get("hint") or ""),
    )


def died_error(name: str, end: End) -> ZygoteError:
    """The child ended before it could tell anything."""
    return ZygoteError(
        f"cannot start '{name}': it {end} during its set-up",
        code="died-in-setup",
        step="set-up",
        hint=f"its last words: zygotectl logs {name}",
    )


HINTS = {
    errno.EMFILE: "the manager has no file descriptors left: raise LimitNOFILE (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptors left: see fs.file-max",
    errno.ENOSPC: "the disk is full",
    errno.ENOMEM: "the machine, or the manager's cgroup, has no memory left",
}
"""What is short, and what to do, where a system call has said so."""


def prepare_error(name: str, error: OSError) -> ZygoteError:
    """The manager itself could not prepare a spawn: no fds, no memory, no room on the disk."""
    at = f"{error.filename}: " if error.filename else ""
    number = error.errno or 0
    return ZygoteError(
        f"cannot start '{name}': {at}{describe_errno(number) or error}",
        code="spawn-failed",
        step="prepare",
        errno=number,
        hint=HINTS.get(number, ""),
    )
