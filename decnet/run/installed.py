"""decnet as a service of the machine: what its environment is, for units and for commands.

`install --systemd` gives the units these settings, and `decnetctl`, run by root where those units
are, takes the same: `decnetctl visits` then asks the fleet that runs, and not one in root's home.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

NAME = "decnet"
USER = "decnet"
_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def settings_file(name: str = NAME) -> Path:
    """Where an operator writes DECNET_…=…, one a line, for the units of that name."""
    return Path(f"/etc/{name}/decnet.env")


def defaults(name: str = NAME) -> dict[str, str]:
    """What the units say themselves; the operator's file is read after it."""
    return {"DECNET_STATE_DIR": f"/var/lib/{name}", "DECNET_USER": USER}


def settings(name: str = NAME) -> dict[str, str]:
    """The DECNET_… variables of the units of that name."""
    return {**defaults(name), **read_file(settings_file(name))}


def adopt(env: MutableMapping[str, str]) -> None:
    """Add the service's settings where they are meant; what is set already stays.

    Meant by root, on a machine with our units, who names neither another state nor another manager.
    """
    named = any(env.get(key) for key in ("DECNET_STATE_DIR", "ZYGOTE_RUNTIME_DIR"))
    if os.geteuid() == 0 and not named and is_installed():
        for key, value in settings().items():
            env.setdefault(key, value)


def is_installed(folders: tuple[str, ...] = _FOLDERS) -> bool:
    """Whether this machine has decnet's units, of either kind."""
    kinds = (f"{NAME}.service", f"{NAME}.target")
    return any(Path(folder, kind).exists() for folder in folders for kind in kinds)


def read_file(path: Path) -> dict[str, str]:
    """DECNET_… of an EnvironmentFile= (systemd.exec(5)); {} where it cannot be read.

    A line that goes on in the next one is not understood; nothing here is that long.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.strip().partition("=") for line in lines if line.strip()[:1] not in ("#", ";"))
    return {
        key.strip(): _plain(value.strip())
        for key, _, value in pairs
        if key.strip().startswith("DECNET_")
    }


def _plain(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def environ(env: Mapping[str, str], name: str = NAME) -> dict[str, str]:
    """The environment that a unit would have, as far as the fleet file asks for it."""
    own = {key: value for key, value in env.items() if not key.startswith("DECNET_")}
    return {**own, **settings(name)}
