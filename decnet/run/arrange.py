"""The state folder, so that workers can be shut in: a folder for each kind of file.

A wall allows a folder with all that is in it. So the database, the logs, each decoy's keys have a
folder of their own, and what an earlier version left beside them is moved in. People find the
files that they know where they were: by links.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from pathlib import Path

from decnet.decoys.catalogue import instance_name
from decnet.run.stash import FOLDER
from decnet.settings import Settings, SettingsError, secret_file

FOLDERS: dict[str, tuple[str, ...]] = {
    "db": ("decnet.db", "decnet.db-wal", "decnet.db-shm"),
    "log": ("decnet.log", "decnet.json"),
    "listener": ("listener.json", "master.log", "master.json"),
    "forwarder": ("forwarder.json",),
    "canary": ("canary-hits.jsonl",),
    "keys": (),
    "geoip": (),
    "intel": (),
    "estate": (),
}
"""Folder -> the files that lay beside it once."""
LINKS = ("decnet.db", "decnet.log", "decnet.json", "master.log", "master.json")
SECRETS = ("jwt-secret", "admin-password")
_KEY = re.compile(r"(?:.*-(?P<number>[0-9]+)_)?ssh_[a-z0-9_]+_host_key")


def arrange(settings: Settings) -> None:
    """Make the folders, move files into them, make the secrets; a second call finds it done.

    Workers of an earlier version that still run go on: they come to the same files by the links.

    Raises:
        SettingsError: the state folder cannot be written.
    """
    state = settings.state_dir
    try:
        for name, files in FOLDERS.items():
            (state / name).mkdir(mode=0o700, exist_ok=True)
            for file in files:
                _move(state / file, state / name / file)
        for key in list(state.iterdir()):
            if found := _KEY.fullmatch(key.name):
                place = state / "keys" / instance_name("ssh", int(found["number"] or 1))
                place.mkdir(mode=0o700, exist_ok=True)
                _move(key, place / key.name)
        for name in LINKS:
            folder = next(folder for folder, files in FOLDERS.items() if name in files)
            with contextlib.suppress(FileExistsError):
                (state / name).symlink_to(Path(folder, name))
    except OSError as error:
        raise SettingsError(
            f"cannot arrange the state folder {state}: {error.strerror} ({error.filename})",
            "check its owner, or set DECNET_STATE_DIR",
        ) from error
    # The API gets them as credentials: it may not make them itself.
    secret_file(state / "jwt-secret")
    secret_file(state / "admin-password", 18)


def give(state: Path, user: str) -> None:
    """Let this user own what is in the state, for a manager that is root and workers that are not.

    Secrets stay ours: they reach a worker as credentials. So does the folder itself, which others
    may pass through only: its owner could put other secrets in their place, and systemd, finding
    a StateDirectory= that is not the unit's user's, would take back all that is in it.

    Raises:
        SettingsError: no such user, or a file cannot be given.
    """
    try:
        entry = pwd.getpwnam(user)
        if (info := state.stat()).st_uid == entry.pw_uid != os.geteuid():
            os.chown(state, os.geteuid(), os.getegid())  # an earlier version gave it
        state.chmod(stat.S_IMODE(info.st_mode) | 0o011)
        for path in state.rglob("*"):
            secret = path.suffix == ".key" or path.name in SECRETS or FOLDER in path.parts
            if not secret and path.lstat().st_uid == 0:
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except KeyError:
        raise SettingsError(
            f"DECNET_USER={user!r} is no user of this machine", f"useradd --system {user}"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"cannot give {state} to {user}: {error.strerror}",
            "run it as root, or unset DECNET_USER",
        ) from error


def _move(source: Path, target: Path) -> None:
    """Rename a real file, unless there is one already."""
    if source.is_file() and not source.is_symlink() and not target.exists():
        os.rename(source, target)  # noqa: PTH104 - within one file system
