"""Secrets that the operator gave in the environment: out of it, before a manager is started.

A zygote would inherit them, and every worker with it. So each becomes a file of its own in
STATE/given (0600), which the fleet file gives as a credential to those workers that need it.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from urllib.parse import unquote

from decnet.settings import Reader, SettingsError, _default_state_dir

FOLDER = "given"
_PLAIN = {
    "DECNET_JWT_SECRET": ("jwt-secret", "DECNET_WALL_JWT"),
    "DECNET_ADMIN_PASSWORD": ("admin-password", "DECNET_WALL_ADMIN"),
    "DECNET_GREYNOISE_API_KEY": ("greynoise-api-key", ""),
    "DECNET_ABUSEIPDB_API_KEY": ("abuseipdb-api-key", ""),
    "DECNET_THREATFOX_API_KEY": ("threatfox-api-key", ""),
}
"""Variable -> its file, and the variable that names that, where another one is usual."""


def stash(env: MutableMapping[str, str], *, write: bool = True) -> None:
    """Move the secrets of an environment into files, and say there where they are.

    Args:
        write: False: no file is made; `env` becomes what it would.
    Raises:
        SettingsError: a file cannot be written.
    """
    folder = Reader(env).path("STATE_DIR", _default_state_dir(env)) / FOLDER
    try:
        for variable, (name, pointer) in _PLAIN.items():
            if value := env.pop(variable, ""):
                if write:
                    _write(folder / name, value)
                if pointer:
                    env[pointer] = str(folder / name)
        url, password = _without_password(env.get("DECNET_DB_URL", ""))
        if password:
            if write:
                _write(folder / "db-password", password)
            env["DECNET_DB_URL"] = url
            env["DECNET_DB_PASSWORD_FILE"] = str(folder / "db-password")
    except OSError as error:
        raise SettingsError(
            f"cannot keep a secret in {folder}: {error.strerror}",
            "check the owner of the state folder (DECNET_STATE_DIR)",
        ) from error


def withhold(env: MutableMapping[str, str]) -> None:
    """Only take the secrets out: for a process that is to get its own as credentials."""
    for variable in _PLAIN:
        env.pop(variable, None)
    if url := env.get("DECNET_DB_URL"):
        env["DECNET_DB_URL"], _ = _without_password(url)


def _without_password(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    if not (mark and at and colon) or scheme.startswith("sqlite"):
        return url, ""
    return f"{scheme}://{user}@{place}", unquote(password)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    draft.replace(path)
