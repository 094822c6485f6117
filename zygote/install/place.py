"""Unit files on a machine: written, checked, enabled, and taken away again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zygote.errors import Exit, ZygoteError, describe_errno
from zygote.install.units import MARK

Tell = Callable[[str], None]


def write(files: Mapping[Path, str], root: Path, tell: Tell) -> list[Path]:
    """Write them below `root`; all or, where one is not ours, none.

    Raises:
        ZygoteError: codes not-ours, not-allowed, write-failed.
    """
    goals = {under(root, path): text for path, text in files.items()}
    for path in goals:
        if path.exists() and not is_ours(path):
            raise ZygoteError(
                f"{path} is there, and was not written by us",
                code="not-ours",
                hint="remove or rename it, or choose another name for the units: --name",
            )
    for path, text in goals.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.new")
            draft.write_text(text)
            draft.chmod(0o644)
            draft.replace(path)
        except OSError as error:
            raise _os_error(path, error) from None
        tell(f"wrote {path}")
    return list(goals)


def remove(paths: Sequence[Path], tell: Tell) -> list[Path]:
    """Remove those that are ours; the others are told of and left."""
    gone = []
    for path in paths:
        if not path.exists():
            continue
        if not is_ours(path):
            tell(f"left {path}: it was not written by us")
            continue
        try:
            path.unlink()
        except OSError as error:
            raise _os_error(path, error) from None
        gone.append(path)
        tell(f"removed {path}")
        _remove_if_empty(path.parent)
    return gone


def _remove_if_empty(folder: Path) -> None:
    """A drop-in's folder; somebody's own settings keep it."""
    if folder.name.endswith((".service.d", ".socket.d")) and not any(folder.iterdir()):
        folder.rmdir()


def is_ours(path: Path) -> bool:
    """Whether `install` wrote it."""
    try:
        with path.open(errors="replace") as file:
            return file.readline().rstrip("\n") == MARK
    except OSError:
        return False


def verify(units: Sequence[Path]) -> list[str]:
    """What `systemd-analyze verify` says of them: [] is clean."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    names = {path.name for path in units}
    return [line for line in said if line.strip() and (done.returncode or _is_about(line, names))]


def _is_about(line: str, names: set[str]) -> bool:
    """Other units of the machine have faults, too."""
    return any(name in line for name in names)


def systemctl(*words: str) -> str:
    """Run it; what it printed.

    Raises:
        ZygoteError: code systemctl, with what it said.
    """
    return run(["systemctl", *words])


def run(words: Sequence[str]) -> str:
    """Run one of systemd's tools.

    Raises:
        ZygoteError: code systemctl, with what it said.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ZygoteError(
            f"{words[0]} cannot be run: {describe_errno(error.errno or 0)}",
            code="no-systemd",
            hint="is this machine run by systemd?",
            errno=error.errno or 0,
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ZygoteError(
            f"`{' '.join(words)}` failed: {said[0] if said else f'exit {done.returncode}'}",
            code="systemctl",
            hint=f"journalctl -xeu {words[-1]}",
            exit_code=Exit.FAILED,
        )
    return done.stdout.strip()


def under(root: Path, path: Path) -> Path:
    """/etc/x below another root."""
    return root / path.relative_to("/")


def check_root() -> None:
    """Units belong to root.

    Raises:
        ZygoteError: code not-allowed.
    """
    if os.geteuid() != 0:
        raise ZygoteError(
            "only root may install units",
            code="not-allowed",
            hint="use sudo; or write them elsewhere to look at them: --root DIR",
            exit_code=Exit.NOT_ALLOWED,
        )


def _os_error(path: Path, error: OSError) -> ZygoteError:
    return ZygoteError(
        f"{path}: {describe_errno(error.errno or 0)}",
        code="write-failed",
        errno=error.errno or 0,
        hint="run as root, on a file system that can be written",
        exit_code=Exit.NOT_ALLOWED if error.errno in (1, 13) else Exit.FAILED,
    )
