"""What each wall costs a worker: time of its spawn, and memory of its own while it is idle.

    .venv/bin/python benchmarks/walls.py [--json] [--n 60] [--floor decnet.floor]

One zygote, one worker after the other, the walls in turn in every round, so that a busy moment of
the machine hits all of them. Memory is private memory (USS) and page tables, which the kernel
counts; time is from the request to the report. `decnet` is what decnet's fleet file puts around its
profiler: landlock, seccomp, address families, no capabilities.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.spawn import clean_environment
from benchmarks.support import options
from benchmarks.support.about import about
from decnet.run.arrange import arrange
from decnet.run.variables import variables
from decnet.settings import Settings
from zygote.errors import ZygoteError
from zygote.fleet import seccomp
from zygote.fleet.load import check
from zygote.fleet.model import ZygoteSpec
from zygote.inspect.lone import LoneZygote
from zygote.manager import walls
from zygote.sys import procfs

FLEET = Path(__file__).resolve().parent.parent / "decnet" / "fleet.toml"
NONE: dict[str, Any] = {
    "report": False, "gaps": [], "network": False, "tmp": False, "keep": [], "read_only": [],
    "landlock": None, "seccomp": "", "seccomp_words": "",
}  # fmt: skip


def kinds(state: Path) -> dict[str, dict[str, Any]]:
    """Name -> keys of a request."""
    program = base64.b64encode(seccomp.program(("@system-service",), ("AF_UNIX",))).decode()
    arrange(Settings.from_env({"DECNET_STATE_DIR": str(state)}))
    env = {"DECNET_STATE_DIR": str(state), "HOME": str(state)}
    fleet, errors = check(FLEET, env | variables(env))
    if fleet is None:
        raise SystemExit(f"walls.py: {errors[0]}")
    shipped = walls.body(fleet.workers["profiler"], str(state), ())
    return {
        "none": {},
        "no_new_privs, capabilities": {"no_new_privs": True, "capabilities": []},
        "seccomp": {"no_new_privs": True, "walls": NONE | {"seccomp": program}},
        "landlock": {"no_new_privs": True, "walls": NONE | {"landlock": {"write": [str(state)]}}},
        "private_tmp, read_only_paths": {"walls": NONE | {"tmp": True, "read_only": ["/usr"]}},
        "private_network": {"walls": NONE | {"network": True}},
        "decnet": {"no_new_privs": True, "capabilities": [], "walls": shipped},
    }


def measure(floor: str, n: int) -> dict[str, Any]:
    """All kinds, in turn; see the module's docstring."""
    with tempfile.TemporaryDirectory() as folder:
        asked = kinds(Path(folder))
        spec = ZygoteSpec("bench", (floor,), cwd=str(Path.cwd()))
        times: dict[str, list[float]] = {name: [] for name in asked}
        memory: dict[str, list[tuple[int, int]]] = {name: [] for name in asked}
        skipped: dict[str, str] = {}
        with LoneZygote(spec, clean_environment()) as zygote:
            for number in range(-3, n):
                for name, keys in asked.items():
                    if name in skipped:
                        continue
                    try:
                        pid, seconds = zygote.spawn(**json.loads(json.dumps(keys)))
                    except ZygoteError as error:
                        skipped[name] = error.message
                        continue
                    if number >= 0:
                        times[name].append(seconds)
                        found = procfs.read_memory(pid)
                        if found:
                            memory[name].append((found.uss_kib, found.pagetables_kib))
                    _end(pid)
            modules = zygote.baked.get("modules")
    rows = {
        name: {
            "spawn_ms": round(statistics.median(times[name]) * 1e3, 2),
            "private_kib": round(statistics.median(uss for uss, _ in memory[name])),
            "pagetables_kib": round(statistics.median(tables for _, tables in memory[name])),
        }
        for name in asked
        if name not in skipped
    }
    return {
        "walls": rows,
        "skipped": skipped,
        "n": n,
        "floor": floor,
        "modules": modules,
        **about(),
    }


def _end(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.waitid(os.P_PID, pid, os.WEXITED)
    os.close(pidfd)


def main() -> int:
    parser = options.on_a_floor(__doc__, 60)
    given = parser.parse_args()
    print(f"walls.py: {given.n} rounds on floor {given.floor} …", file=sys.stderr)
    result = measure(given.floor, given.n)
    if given.json:
        print(json.dumps(result))
        return 0
    print(f"floor {result['floor']}, {result['modules']} modules, Python {result['python']}")
    for name, row in result["walls"].items():
        print(
            f"  {name:30} spawn p50 {row['spawn_ms']:7.2f} ms   private {row['private_kib']:5} KiB"
            f"   page tables {row['pagetables_kib']:4} KiB"
        )
    for name, why in result["skipped"].items():
        print(f"  {name:30} not here: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
