"""Where a fleet's file and its manager's runtime folder are: what clients must know to find it.

Standard library only, and nothing is validated beyond [fleet]: so a client finds its manager
even while somebody edits the file. The runtime folder is, the first of these that is set:

1. `--runtime-dir`, 2. $ZYGOTE_RUNTIME_DIR, 3. `runtime_dir` in [fleet],
4. as root /run/zygote/NAME, else $XDG_RUNTIME_DIR/zygote/NAME, else /tmp/zygote-UID/NAME.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zygote.errors import Exit, ZygoteError
from zygote.fleet.expand import expand

FILE_NAME = "fleet.toml"
SOCKET_NAME = "control.sock"
SOCKET_PATH_MAX = 107
"""Bytes of a UNIX socket's path, the kernel's end mark left out (unix(7), sun_path)."""

FLEET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
_SYSTEM = Path("/run/zygote")
_TMP = Path("/tmp")
_HEADER = re.compile(r"\s*\[")


def find_fleet_file(arg: str | None = None) -> Path:
    """The fleet file to use: `arg`, else $ZYGOTE_FLEET, else ./fleet.toml; absolute.

    A folder stands for the fleet.toml in it.

    Raises:
        ZygoteError: code no-fleet-file, exit code NO_SUCH_WORKER ("no such worker or fleet").
    """
    named = arg or os.environ.get("ZYGOTE_FLEET") or ""
    path = Path(os.path.abspath(named or FILE_NAME))  # noqa: PTH100 - keep symbolic links
    if path.is_dir() and (path / FILE_NAME).exists():
        path = path / FILE_NAME
    if path.exists():
        return path
    if arg:
        message, hint = f"no fleet file {path}", "check the name"
    elif named:
        message = f"no fleet file {path} (from ZYGOTE_FLEET)"
        hint = "correct or unset ZYGOTE_FLEET"
    else:
        message = f"no {FILE_NAME} in {path.parent}"
        hint = (
            "go to its folder, or name it: --fleet FILE, or ZYGOTE_FLEET in the environment; "
            "`zygotectl init` writes one"
        )
    raise ZygoteError(
        message,
        code="no-fleet-file",
        hint=hint,
        errno=errno.ENOENT,
        exit_code=Exit.NO_SUCH_WORKER,
    )


def runtime_dir(fleet_file: str | Path, override: str | None = None) -> Path:
    """The manager's runtime folder, absolute; it need not exist.

    Args:
        override: of the command line; None or "" is none. Relative to the current folder.
    Raises:
        ZygoteError: the file is needed and cannot be read, or its [fleet] is wrong; or the
            fall-back folder in /tmp belongs to somebody else.
    """
    given = override or os.environ.get("ZYGOTE_RUNTIME_DIR", "")
    if given:
        return choose_runtime_dir("", "", given)
    head = read_head(Path(fleet_file))
    chosen = choose_runtime_dir(head.get("name", ""), head.get("runtime_dir", ""))
    service = _SYSTEM / head.get("name", "")
    own = bool(head.get("runtime_dir")) or (chosen / SOCKET_NAME).exists()
    if not own and (service / SOCKET_NAME).exists():
        return service  # root's: an operator who is not root means that one, where he has none
    return chosen


def control_socket(fleet_file: str | Path, override: str | None = None) -> Path:
    """The manager's control socket, absolute; it need not exist.

    Raises:
        ZygoteError: as `runtime_dir`; code socket-path-too-long.
    """
    path = runtime_dir(fleet_file, override) / SOCKET_NAME
    check_socket_path(path)
    return path


def choose_runtime_dir(
    name: str,
    configured: str,
    override: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """The runtime folder of a fleet whose [fleet] is known already.

    Args:
        configured: its `runtime_dir`, absolute, or "".
        override: of the command line.
    Raises:
        ZygoteError: code runtime-dir-owner, the fall-back in /tmp belongs to somebody else.
    """
    for chosen in (override, environ.get("ZYGOTE_RUNTIME_DIR"), configured):
        if chosen:
            return Path(os.path.abspath(chosen))  # noqa: PTH100 - keep symbolic links
    uid = os.geteuid()
    if uid == 0:
        return _SYSTEM / name
    session = environ.get("XDG_RUNTIME_DIR", "")
    # After `su` it names the folder of the user before; then it is not ours to use.
    if session.startswith("/") and _is_our_folder(Path(session)):
        return Path(session, "zygote", name)
    ours = _TMP / f"zygote-{uid}"
    if os.path.lexists(ours) and not _is_our_folder(ours):
        own = ours.lstat().st_uid == uid and ours.is_dir() and not ours.is_symlink()
        raise ZygoteError(
            f"{ours} can be written by others"
            if own
            else f"{ours} is not a folder of ours: anybody can make that name in /tmp",
            code="runtime-dir-owner",
            hint=(f"look what is in it, then: chmod go-w {ours}" if own else "remove it")
            + "; or name another folder: --runtime-dir, ZYGOTE_RUNTIME_DIR, or runtime_dir in "
            "[fleet]",
            errno=errno.EPERM,
            exit_code=Exit.NOT_ALLOWED,
        )
    return ours / name


def check_socket_path(path: Path, place: str = "") -> None:
    """Refuse a socket's path that the kernel cannot take.

    Raises:
        ZygoteError: code socket-path-too-long.
    """
    size = socket_path_size(path)
    if size > SOCKET_PATH_MAX:
        raise ZygoteError(
            f"the socket's path {path} has {size} bytes, the kernel takes {SOCKET_PATH_MAX}",
            code="socket-path-too-long",
            hint=f"name a folder at least {size - SOCKET_PATH_MAX} bytes shorter: --runtime-dir, "
            "ZYGOTE_RUNTIME_DIR, or runtime_dir in [fleet]",
            place=place,
            errno=errno.ENAMETOOLONG,
        )


def socket_path_size(path: Path) -> int:
    """Bytes of a path, as the kernel counts them."""
    try:
        return len(os.fsencode(path))
    except UnicodeEncodeError:  # a locale without these letters; it fails where it is used
        return len(str(path).encode(errors="replace"))


def read_head(path: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`name`, `runtime_dir` and `log_dir` of a file's [fleet]; the folders absolute, "" if unset.

    Raises:
        ZygoteError: the file cannot be read, or one of these is wrong; exit code FLEET_FILE.
    """
    # Late: with --runtime-dir no file is read, and the manager has the checked fleet.
    from zygote.fleet.source import parse, read_text

    text = read_text(path)
    try:
        data = parse(text, path.name)
    except ZygoteError as error:
        # A fault in another table must not keep a client from its manager.
        data = _parse_section(text, error)
    table = data.get("fleet")
    table = table if isinstance(table, dict) else {}
    name = table.get("name")
    if not isinstance(name, str) or not FLEET_NAME.fullmatch(name):
        raise _wrong_head(path, "name", name, 'name = "my-fleet": lower-case letters, digits, -')
    head = {"name": name}
    for key in ("runtime_dir", "log_dir"):
        value = table.get(key, "")
        if not isinstance(value, str):
            raise _wrong_head(path, key, value, f'{key} is a folder: {key} = "run"')
        folder = path.absolute().parent
        head[key] = os.path.abspath(folder / expand(value, environ)) if value else ""  # noqa: PTH100
    return head


def _parse_section(text: str, fault: ZygoteError) -> dict[str, Any]:
    """[fleet] alone, from its header to the next one.

    Raises:
        ZygoteError: `fault`, if that cannot be read either.
    """
    import tomllib

    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if re.match(r"\s*\[\s*fleet\s*\]", line)]
    if len(starts) != 1:
        raise fault
    rest = lines[starts[0] + 1 :]
    end = next((n for n, line in enumerate(rest) if _HEADER.match(line)), len(rest))
    try:
        return {"fleet": tomllib.loads("\n".join(rest[:end]))}
    except tomllib.TOMLDecodeError:
        raise fault from None


def _wrong_head(path: Path, key: str, value: object, hint: str) -> ZygoteError:
    fault = f"no {key}" if value is None else f"{key} = {value!r} is not right"
    return ZygoteError(
        f"{path.name}: [fleet] has {fault}" if value is None else f"{path.name}: [fleet]: {fault}",
        code="missing-key" if value is None else "bad-value",
        hint=f"{hint}; see `zygotectl check`",
        place=path.name,
        exit_code=Exit.FLEET_FILE,
    )


def _is_our_folder(path: Path) -> bool:
    """A real folder of ours that nobody else can write to."""
    try:
        info = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o022
