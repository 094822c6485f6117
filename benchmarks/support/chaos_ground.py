"""What chaos stands on: its fleet file, its cgroup, its small disk; and what is kept of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.support import chaos_hog
from decnet.run.__main__ import FLEET
from zygote.sys.cgroupfs import Group, group_of

DISK_MB = 256
BAKE_SECONDS = 600.0
"""For whole bakes: of three zygotes, one after the other, on a machine that is busy."""
_WANTED = ("memory", "pids", "cpu")
_HOG = """
[worker.hog]
run = "{}"
type = "notify"
memory_max = "48M"
max_private = "infinity"
"""


def fleet_text(quick_bake: bool, hog: bool) -> str:
    """The shipped fleet, which never gives up on a worker."""
    text = FLEET.read_text().replace("[defaults]\n", "[defaults]\nstart_limit = 0\n")
    text = re.sub(r"(?m)^bake_timeout = .*\n", "", text)
    for name in ("floor", "decoy", "packet"):
        table = f"[zygote.{name}]\n"
        more = 'bake = ["freeze"]\n' if quick_bake else f'bake_timeout = "{BAKE_SECONDS:g}s"\n'
        text = text.replace(table, table + more)
    return text + _HOG.format(Path(chaos_hog.__file__)) if hog else text


def find_ground() -> Path | None:
    """Our own cgroup, if it is v2 and ours; emptied of us, so that it can give limits."""
    ours = group_of("self")
    if ours is None or not ours.controllers() >= set(_WANTED) or not ours.is_delegated():
        return None
    home = Group(ours.path / "chaos-home")
    home.path.mkdir(exist_ok=True)
    for pid in ours.pids():
        home.take_in(pid)
    for name in _WANTED:
        ours.give(name)
    return ours.path


@contextlib.contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of `DISK_MB` in memory, or None where it cannot be mounted."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        disk = Path(folder)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "chaos", folder]
        if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
            yield None
            return
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def keep(goal: Path) -> None:
    """What one wants to look at afterwards."""
    goal.mkdir(parents=True, exist_ok=True)
    for name in ("ZYGOTE_RUNTIME_DIR", "DECNET_STATE_DIR"):
        source = Path(os.environ[name])
        ignore = shutil.ignore_patterns("*.sock", "*.lock", "ballast", "credentials")
        shutil.copytree(source, goal / source.name, ignore=ignore, dirs_exist_ok=True)
    log = Path(os.environ["ZYGOTE_RUNTIME_DIR"]).parent / "manager.log"
    shutil.copy(log, goal / log.name)
