"""What decnet's fleet file takes from the environment, beside what the operator has set.

The file is the same for everybody; where the state lies, and whether the database is reached over
the network, is found out here, before a manager is started. A manager that is started otherwise
has the file's own words: state in /var/lib/decnet, SQLite.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from decnet.settings import Reader, _default_state_dir, sqlite_file

KEY = "worker.key"
_POSTGRES = 5432


def variables(env: Mapping[str, str]) -> dict[str, str]:
    """Variables to add: DECNET_STATE_DIR, absolute, and DECNET_WALL_….

    DB, SPOOL, ARTIFACTS, GEOIP, INTEL, MASTER, AGENT: folders. DB_PORT, INET, INET6: for a database
    in the network. COLLECT: the folder of DECNET_COLLECT_FILES. What is wrong with a value is for
    the workers to say.
    """
    read = Reader(env)
    state = read.path("STATE_DIR", _default_state_dir(env))
    ship = read.path("SHIP_DIR", state / "ship")
    both = (ship / KEY).exists()
    url = read.text("DB_URL", "")
    file = sqlite_file(url)
    folders = {
        "DB": file.absolute().parent.resolve() if file else state / "db",
        "SPOOL": read.path("SPOOL_DIR", state / "spool"),
        "ARTIFACTS": read.path("ARTIFACTS_ROOT", state / "artifacts"),
        "GEOIP": read.path("GEOIP_ROOT", state / "geoip"),
        "INTEL": read.path("INTEL_ROOT", state / "intel"),
        "MASTER": ship if both else ship / "master",
        "AGENT": ship if both else ship / "agent",
        "JWT": read.path("WALL_JWT", state / "jwt-secret"),
        "ADMIN": read.path("WALL_ADMIN", state / "admin-password"),
        "KEYS": state / "given",
    }
    found = {f"DECNET_WALL_{name}": str(path) for name, path in folders.items()}
    if url and not url.startswith("sqlite"):
        found |= {"DECNET_WALL_INET": "AF_INET", "DECNET_WALL_INET6": "AF_INET6"}
        found["DECNET_WALL_DB_PORT"] = str(_port(url))
    patterns = [each for each in read.text("COLLECT_FILES", "").split(":") if each.startswith("/")]
    if patterns:
        found["DECNET_WALL_COLLECT"] = os.path.commonpath([str(Path(p).parent) for p in patterns])
    return {"DECNET_STATE_DIR": str(state), **found}


def _port(url: str) -> int:
    try:
        return urlsplit(url).port or _POSTGRES
    except ValueError:
        return _POSTGRES
