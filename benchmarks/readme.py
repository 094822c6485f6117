"""Write README's figures from benchmarks/results/*.json: no figure in README is typed by hand.

    .venv/bin/python benchmarks/readme.py [--check]

--check changes nothing and exits 1 where README differs from the results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- figures: written by `make bench`, from benchmarks/results/ -->"
END = "<!-- /figures -->"
MB = 1024 / 1e6


def figures(spawn: dict[str, Any], fleet: dict[str, Any]) -> str:
    """The block between the marks, in Markdown."""
    cold, idle, worked = fleet["cold"], fleet["zygote"]["idle"], fleet["zygote"]["worked"]
    private = worked["worker_uss_kib"].values()
    lines = [
        f"{cold['workers']} workers of the embedded fleet, all processes (manager and zygotes",
        f"included), CPython {fleet['python']}, {fleet['cores']} cores; MB of 10^6 bytes:",
        "",
        "| | PSS | page tables | sum |",
        "|---|---:|---:|---:|",
        row("cold processes, idle", cold),
        row("from zygotes, idle", idle),
        row(f"from zygotes, after {fleet['visits']} real SSH visits", worked),
        "",
        f"Private memory per worker after the visits: {min(private) * MB:.1f} to "
        f"{max(private) * MB:.1f} MB; the manager: {worked['manager_pss_kib'] * MB:.1f} MB PSS.",
        "`.venv/bin/python benchmarks/fleet.py`",
        "",
        f"| from “start it” to its first line, {spawn['modules']} modules | p50 | p99 |",
        "|---|---:|---:|",
        timing("`os.fork` of the same heap", spawn["fork_ms"]),
        timing("a spawn from the zygote", spawn["spawn_ms"]),
        timing("a cold start", spawn["cold_ms"]),
        "",
        f"A spawn takes {spawn['spawn_over_fork']} × `os.fork`, a cold start "
        f"{spawn['cold_over_spawn']:.0f} × a spawn. `.venv/bin/python benchmarks/spawn.py`",
    ]
    return "\n".join(lines)


def row(label: str, figures: dict[str, Any]) -> str:
    """One line of the memory table."""
    pss, tables = figures["pss_kib"] * MB, figures["pagetables_kib"] * MB
    return f"| {label} | {pss:.1f} | {tables:.1f} | {pss + tables:.1f} |"


def timing(label: str, figures: dict[str, Any]) -> str:
    """One line of the latency table."""
    return f"| {label} | {figures['p50']:.2f} ms | {figures['p99']:.2f} ms |"


def main() -> int:
    results = ROOT / "benchmarks" / "results"
    spawn = json.loads((results / "spawn.json").read_text())
    fleet = json.loads((results / "fleet.json").read_text())
    readme = ROOT / "README.md"
    old = readme.read_text()
    head, tail = old.split(BEGIN)[0], old.split(END)[1]
    new = f"{head}{BEGIN}\n{figures(spawn, fleet)}\n{END}{tail}"
    if "--check" in sys.argv:
        if new != old:
            print(
                "README's figures are not those of benchmarks/results: make bench", file=sys.stderr
            )
        return int(new != old)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
