"""A Procfile as a draft: `name: command` in each line, as Heroku, foreman and honcho read it."""

from __future__ import annotations

import re
from pathlib import Path

from zygote.draft.model import Worker, fleet_name, worker_name
from zygote.draft.taker import Taker, read_text

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)$")
_ONCE = ("release", "migrate", "postdeploy")


def read(path: Path, home: Path) -> Taker:
    """A draft of a Procfile's processes."""
    taker = Taker(path, home, fleet_name(home.name))
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if not match:
            taker.lose(number, line.strip(), "not of the form `name: command`")
            continue
        worker = Worker(worker_name(match[1]))
        worker.said.append(f"{match[1]} of {path.name}")
        taker.command(worker, match[2], number, shell=True)
        if match[1] in _ONCE and not worker.off:
            worker.keys |= {"autostart": False, "restart": "no"}
            worker.said.append(f"It runs once, on demand: `spawn {worker.name}`.")
        taker.draft.workers.append(worker)
    if "$PORT" in read_text(path) or "${PORT" in read_text(path):
        taker.draft.said.append("PORT is taken from the manager's environment, else it is 8000.")
    env = path.with_name(".env")
    if env.is_file():
        taker.draft.lose(".env", ", ".join(_names(env)) or "(empty)",
                         "foreman reads it, this manager does not: export it before `up` (set -a; "
                         ". ./.env), or write what is no secret into env")  # fmt: skip
    return taker


def _names(env: Path) -> list[str]:
    """The names in a .env file; the values may be secrets."""
    return re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=", read_text(env), re.MULTILINE)
