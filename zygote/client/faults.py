"""Why a manager cannot be reached, as errors that name the way out. Loads no library."""

from __future__ import annotations

import errno
from pathlib import Path

from zygote.errors import Exit, ZygoteError, describe_errno


def explain_connect(socket: Path, error: OSError) -> ZygoteError:
    """What connect(2) said about a control socket."""
    number = error.errno or 0
    if number in (errno.EACCES, errno.EPERM):
        return ZygoteError(
            f"the manager's socket {socket} may not be opened: {describe_errno(number)}",
            code="not-allowed",
            hint="use the manager's own user, or sudo",
            errno=number,
            exit_code=Exit.NOT_ALLOWED,
        )
    if number == errno.EAGAIN:
        return ZygoteError(
            f"the manager at {socket} takes no more connections",
            code="busy",
            hint="it may be stopped or overloaded: see its process with ps",
            errno=number,
            exit_code=Exit.NO_MANAGER,
        )
    if number == errno.ENOENT:
        fault = f"no manager answers: there is no {socket}"
    elif number == errno.ECONNREFUSED:
        fault = f"no manager answers: nobody listens at {socket}"
    else:
        fault = f"no manager answers at {socket}: {describe_errno(number) or error}"
    return ZygoteError(
        fault,
        code="no-manager",
        hint="start it (zygotectl up), or name its folder with --runtime-dir",
        errno=number,
        exit_code=Exit.NO_MANAGER,
    )


def explain_lost(socket: Path, error: BaseException | None = None) -> ZygoteError:
    """The connection ended in the middle of a call."""
    why = f": {error}" if error and str(error) else ""
    return ZygoteError(
        f"the manager at {socket} hung up before it answered{why}",
        code="manager-gone",
        hint="it was stopped or has died; its workers live on: zygotectl up adopts them",
        exit_code=Exit.NO_MANAGER,
    )
