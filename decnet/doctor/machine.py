"""What all workers need of the machine: Python, folders, a database, memory, a fleet file."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decnet.db.revision import HEAD
from decnet.doctor.finding import ALL, Finding, missing, note, ok
from decnet.settings import Settings
from zygote.errors import ZygoteError
from zygote.fleet import where
from zygote.sys.procfs import read_meminfo_kib

FLOOR_MB, FREE_DISK_MB, DESCRIPTORS = 400, 500, 1024
_LANDLOCK_CREATE_RULESET = 444
OURS_SINCE = 1_760_000_000
"""Seconds of the epoch, in 2025: a clock before that is wrong."""


def python() -> Iterator[Finding]:
    """The interpreter."""
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        yield missing(ALL, f"Python {version}", "use 3.11 to 3.14: make setup PYTHON=/path/python3")
    elif sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield missing(ALL, f"Python {version} without its lock (free-threaded)",
                      "use the ordinary build of the same version")  # fmt: skip
    elif sys.version_info < (3, 12):
        yield note(ALL, f"Python {version}: reference counts cannot be made immortal",
                   "3.12 and later share more memory")  # fmt: skip
    else:
        yield ok(ALL, f"Python {version}")


def folders(settings: Settings) -> Iterator[Finding]:
    """The state folder and the room in it."""
    folder = settings.state_dir
    remedy = "set DECNET_STATE_DIR to a folder that this user may write to"
    if not os.access(folder, os.W_OK | os.X_OK):
        yield missing(ALL, f"state folder {folder}: not writable", remedy)
        return
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < FREE_DISK_MB:
        yield missing(ALL, f"state folder {folder}: only {free} MB are free",
                      "make room, or set DECNET_STATE_DIR to another disk")  # fmt: skip
    else:
        yield ok(ALL, f"state folder {folder}, {free} MB free")
    for name in ("jwt-secret", "admin-password"):
        file = folder / name
        if file.exists() and file.stat().st_mode & 0o077:
            yield missing("api", f"{file}: others may read it", f"chmod 600 {file}")


def runtime(fleet: Path) -> Iterator[Finding]:
    """The folder of the manager's socket, and the bus's beside it."""
    try:
        socket = where.control_socket(fleet)
        # The longest of the sockets in it.
        where.check_socket_path(socket.with_name("notify.sock"))
    except ZygoteError as error:
        yield missing(ALL, error.message, error.hint)
        return
    folder = socket.parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(there, os.W_OK | os.X_OK):
        yield ok(ALL, f"runtime folder {folder}")
    else:
        yield missing(ALL, f"runtime folder {folder}: {there} is not writable",
                      "set ZYGOTE_RUNTIME_DIR to a folder of your own")  # fmt: skip


def fleet_file(file: Path) -> tuple[list[Finding], dict[str, Any]]:
    """The fleet file, as its checker finds it; and the fleet, {} where it is wrong."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "zygote.fleet", str(file)], capture_output=True, text=True
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = {"errors": [{"message": done.stderr.strip()[-200:], "hint": ""}]}
    if "errors" in found:
        return [
            missing(ALL, f"{error.get('place') or file}: {error['message']}", error["hint"])
            for error in found["errors"]
        ], {}
    notes = [note(ALL, text) for text in found["warnings"]]
    return [ok(ALL, f"fleet file {file}, {len(found['workers'])} workers"), *notes], found


def database(settings: Settings) -> Iterator[Finding]:
    """Driver, reachability, revision."""
    name = str(settings.db_file or settings.db_url.rpartition("@")[2])
    if "asyncpg" in settings.db_url and importlib.util.find_spec("asyncpg") is None:
        yield missing(ALL, f"database {name}: no driver for PostgreSQL",
                      "pip install 'zygote-fleet[postgres]'")  # fmt: skip
        return
    try:
        revision = asyncio.run(_revision(settings.db_url))
    except Exception as error:  # a server that is down, a file that is no database, …
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield missing(ALL, f"database {name}: {text}", "is it up? see DECNET_DB_URL")
        return
    if revision is None:
        yield note(ALL, f"database {name}: not made yet", "`decnetctl up` and `migrate` make it")
    elif revision != HEAD:
        yield missing(ALL, f"database {name}: revision {revision}, this program's is {HEAD}",
                      "decnetctl migrate, while the fleet is down")  # fmt: skip
    else:
        yield ok(ALL, f"database {name}, revision {revision}")


async def _revision(url: str) -> str | None:
    from decnet.db.dialect import make_engine  # late: SQLAlchemy, for this check alone
    from decnet.db.engine import read_revision
    from decnet.settings import sqlite_file

    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    engine = make_engine(url, connections=1)
    try:
        return await read_revision(engine)
    finally:
        await engine.dispose()


def room() -> Iterator[Finding]:
    """Memory, descriptors, the clock."""
    available = read_meminfo_kib("MemAvailable") // 1000
    if available < FLOOR_MB:
        yield note(ALL, f"{available} MB of memory are available",
                   f"the fleet needs about {FLOOR_MB} MB")  # fmt: skip
    else:
        yield ok(ALL, f"{available} MB of memory available")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < DESCRIPTORS:
        yield missing(ALL, f"a process may open {hard} files only",
                      f"ulimit -n {DESCRIPTORS}, or LimitNOFILE= in the unit")  # fmt: skip
    elif 0 <= soft < DESCRIPTORS:
        yield note(ALL, f"a process may open {soft} files", f"ulimit -n {DESCRIPTORS}")
    if time.time() < OURS_SINCE:
        yield missing(ALL, f"the clock says {time.strftime('%Y-%m-%d')}",
                      "set it: certificates and tokens would not be valid yet")  # fmt: skip


def limits() -> Iterator[Finding]:
    """Whether memory_max can be more than a wish: a cgroup v2 of our own with the controller."""
    remedy = "run it as a systemd unit with Delegate=yes (folder systemd/ has one)"
    line = next(
        (x for x in Path("/proc/self/cgroup").read_text().splitlines() if x.startswith("0::")), ""
    )
    folder = Path("/sys/fs/cgroup", line.removeprefix("0::").lstrip("/"))
    try:
        controllers = (folder / "cgroup.controllers").read_text().split()
    except OSError:
        yield note(ALL, "limits (memory_max, tasks_max) are not enforced: no cgroup v2", remedy)
        return
    if "memory" not in controllers or not os.access(folder, os.W_OK):
        yield note(ALL, "limits (memory_max, tasks_max) may not be enforced: "
                        f"{folder} is not ours to divide", remedy)  # fmt: skip
    else:
        yield ok(ALL, f"cgroup v2 at {folder}")


def walls() -> Iterator[Finding]:
    """What can keep a worker that was broken into from the others' files."""
    libc = ctypes.CDLL(None, use_errno=True)
    # landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION): see landlock(7).
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    lacking = [] if version > 0 else ["Landlock (no file or port is out of a worker's reach)"]
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        lacking.append("seccomp (no system call is)")
    if lacking:
        yield note(ALL, f"walls: this kernel lacks {', and '.join(lacking)}",
                   "a kernel of 5.13 or later that has them; decnetctl help walls")  # fmt: skip
    else:
        yield ok(ALL, f"walls: Landlock {version}, seccomp")
    if os.geteuid() == 0 and not os.environ.get("DECNET_USER"):
        yield note(ALL, "every worker runs as root", "DECNET_USER=NAME, a user that owns nothing")
