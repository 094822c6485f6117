"""The environment that all peers run in: the project's own packages, and the peers' beside them.

A `.pth` file adds the site-packages of the interpreter that runs the benchmark, so that the floor
is the very same files under every peer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.peers.table import name_of, requirements

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-peers"
BIN = VENV / "bin"
PYTHON = BIN / "python"
INSTALL_SECONDS = 240.0
"""For one package: uWSGI is built from its source."""


def environment() -> dict[str, str]:
    """What every peer runs with: bytecode is written, and the app is found."""
    left = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONHOME")
    env = {k: v for k, v in os.environ.items() if k not in left and not k.startswith("ZYGOTE_")}
    return env | {"PYTHONPATH": str(ROOT)}


def make() -> dict[str, str]:
    """Install what is missing; package -> its version, or "not available: why"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {project["project"]["name"]: project["project"]["version"]}
    wanted = requirements(project, "peers")
    site = sysconfig.get_path("purelib")
    stamp = json.dumps([sys.version, site, wanted])
    ready = VENV / "ready.json"
    if ready.exists():
        kept = json.loads(ready.read_text())
        if kept["stamp"] == stamp:
            return {**kept["versions"], **ours}
    _say(f"making {VENV.name}")
    _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    inside = Path(sysconfig.get_path("purelib", vars={"base": str(VENV)}))
    (inside / "floor.pth").write_text(f"import site; site.addsitedir({site!r})\n")
    pip = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(_of_the_floor(project["project"]["name"])) + "\n")
    failed: dict[str, str] = {}
    for each in wanted:
        _say(f"installing {each}")
        # No peer may bring another version of what the floor has.
        if why := _run([*pip, "-c", str(constraints), each]):
            failed[name_of(each)] = f"not available: {why}"
    versions = {name_of(each): "" for each in wanted} | failed
    for name in versions:
        versions[name] = versions[name] or _version(name)
    ready.write_text(json.dumps({"stamp": stamp, "versions": versions}))
    return versions | ours


def _of_the_floor(name: str) -> list[str]:
    """`package==version` of all that the project itself needs, as installed."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        package = canonicalize_name(left.pop())
        try:
            here = metadata.distribution(package)
        except metadata.PackageNotFoundError:  # for another platform
            continue
        if package in found:
            continue
        found[package] = f"{package}=={here.version}"
        for line in here.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left.append(requirement.name)
    found.pop(canonicalize_name(name))
    return sorted(found.values())


def compile_app() -> None:
    """Bytecode and page cache, before anything is timed."""
    _run([str(PYTHON), "-c", "import benchmarks.peers.app, benchmarks.peers.line"])


def _version(name: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.check_output([PYTHON, "-c", code], text=True, timeout=60).strip()


def _run(command: list[str]) -> str:
    """Run it; "" or why it failed."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment()
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {INSTALL_SECONDS:.0f} s"
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said or ["it said nothing"])[-1].strip()[:200]


def _say(line: str) -> None:
    print(f"peers.py: {line} …", file=sys.stderr, flush=True)
