"""A worker's credentials: files that we read for it, as memory that it alone has.

Each is copied, within the kernel, into a sealed memfd, whose descriptor goes with the Spawn: the
zygote passes it on unread, and closes it. In the worker it has a number that we know before, so
that `RUNTIME/credentials/WORKER/NAME` can be a link to /proc/self/fd/NUMBER: each process that
follows it comes to a descriptor of its own, and only the worker has one there. A sibling of the
same uid gets at it only by tracing the worker, which landlock, or another uid, forbids.

Facts: a memfd is opened anew through /proc with the rights of its inode (memfd_create(2)); landlock
does not ask about it, since it lies on no mount; sendfile(2) copies without our seeing the bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

from zygote.errors import ZygoteError, describe_errno
from zygote.fleet.model import WorkerSpec

MOST_BYTES = 1 << 20
"""Of one credential, as in systemd."""
VARIABLE = "CREDENTIALS_DIRECTORY"
_RUNTIME = "%t"


def folder(spec: WorkerSpec, runtime_dir: str) -> str:
    """Where the worker finds its credentials; "" if it has none."""
    return f"{runtime_dir}/credentials/{spec.name}" if spec.credentials else ""


def open_all(
    spec: WorkerSpec, runtime_dir: str, uid: int | None, first: int
) -> list[tuple[str, int]]:
    """Roles and descriptors to send with a Spawn, which are the caller's; links are made.

    Args:
        uid: the worker's, where it is not ours.
        first: the number that the first descriptor will have in the worker.
    Raises:
        ZygoteError: code credential; a file cannot be read, or is no file, or too large.
        OSError: the links cannot be made.
    """
    if not spec.credentials:
        return []
    place = Path(folder(spec, runtime_dir))
    # By chmod: our umask may be 0077, as a unit's is, and the worker another user.
    place.parent.mkdir(exist_ok=True)
    place.parent.chmod(0o711)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    place.chmod(0o755)
    found: list[tuple[str, int]] = []
    try:
        for name, path in spec.credentials.items():
            plain = path.removeprefix("-")
            plain = runtime_dir + plain[2:] if plain.startswith(_RUNTIME) else plain
            try:
                made = _read(plain, name, uid)
            except FileNotFoundError as error:
                if path.startswith("-"):
                    continue
                raise _refusal(spec, name, plain, error) from None
            except OSError as error:
                raise _refusal(spec, name, plain, error) from None
            number = first + len(found)
            found.append((f"credential:{name}", made))
            (place / name).symlink_to(f"/proc/self/fd/{number}")
    except BaseException:
        for _, descriptor in found:
            os.close(descriptor)
        raise
    return found


def _read(path: str, name: str, uid: int | None) -> int:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode) or info.st_size > MOST_BYTES:
            raise OSError(errno.EFBIG if stat.S_ISREG(info.st_mode) else errno.EINVAL, path)
        made = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            while os.sendfile(made, source, None, MOST_BYTES):
                pass
            os.fchmod(made, 0o400)
            if uid is not None:
                os.fchown(made, uid, -1)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(made, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(made)
            raise
        return made
    finally:
        os.close(source)


def _refusal(spec: WorkerSpec, name: str, path: str, error: OSError) -> ZygoteError:
    number = error.errno or 0
    why = {
        errno.EINVAL: "it is no file",
        errno.EFBIG: f"it has more than {MOST_BYTES} bytes",
    }.get(number)
    return ZygoteError(
        f"credential {name} of worker '{spec.name}': {path}: {why or describe_errno(number)}",
        code="credential",
        step="credentials",
        errno=number,
        hint="make the file, readable by the manager's user, or change credentials=",
        place=spec.place,
    )
