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


def figures(
    spawn: dict[str, Any], fleet: dict[str, Any], bake: dict[str, Any], peers: dict[str, Any]
) -> str:
    """The block between the marks, in Markdown."""
    first = fleet["modes"][0]
    ours = next(mode for mode in fleet["modes"] if mode["mode"] == "zygote")
    low, high = ours["private_mb"]
    lines = [
        f"The whole fleet, {first['workers']} workers and {first['decoys']} decoys, all processes "
        f"(managers and zygotes included), after {fleet['seconds']:.0f} s of the same scripted "
        f"attackers; CPython {fleet['python']}, {fleet['cores']} cores; PSS + page tables, MB of "
        "10^6 bytes:",
        "",
        "| way | idle | worked | of that, workers | start |",
        "|---|---:|---:|---:|---:|",
        *(row(mode) for mode in fleet["modes"]),
        "",
        f"Private memory of a worker after the load: {low:.1f} to {high:.1f} MB. `supervise` is "
        "smaller for the workers alone, and has one fate, one uid and one limit for all of them; "
        "its decoys, like those of `cold`, are cold processes. "
        "`.venv/bin/python benchmarks/fleet.py`",
        "",
        f"| {peers['n']} workers of one small app under … | idle | worked | private, worked | "
        "crash to ready |",
        "|---|---:|---:|---:|---:|",
        *(peer(each) for each in peers["peers"]),
        "",
        "MB of all processes; private MB of the median worker. "
        f"`.venv/bin/python benchmarks/peers.py --n {peers['n']}` (it says what each was given)",
        "",
        f"| bake of {bake['floor']}, stage by stage | idle | after gc | worked | zygote |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {r['name']} | {r['idle_mb']:.2f} | {r['gc_mb']:.2f} | {r['worked_mb']:.2f} | "
            f"{r['zygote_mb']:.0f} |"
            for r in bake["stages"]
        ),
        "",
        "Private MB of one worker. `.venv/bin/python benchmarks/bake.py`",
        "",
        f"| from “start it” to its first line, {spawn['modules']} modules | p50 | p99 |",
        "|---|---:|---:|",
        timing("`os.fork` of the same modules, not baked", spawn["fork_ms"]),
        timing("a spawn from the zygote", spawn["spawn_ms"]),
        timing("a cold start", spawn["cold_ms"]),
        "",
        f"A spawn takes {spawn['spawn_over_fork']} × `os.fork`, a cold start "
        f"{spawn['cold_over_spawn']:.0f} × a spawn. `.venv/bin/python benchmarks/spawn.py`",
    ]
    return "\n".join(lines)


WAYS = {
    "cold": "cold processes",
    "supervise": "all workers in one process (`decnetctl supervise`)",
    "naive": "fork after import and warm-up",
    "freeze": "the same with `gc.freeze`",
    "zygote": "**the fleet as it ships**",
}


def row(mode: dict[str, Any]) -> str:
    """One line of the memory table."""
    idle = mode["idle"]["pss_mb"] + mode["idle"]["pagetables_mb"]
    worked = mode["pss_mb"] + mode["pagetables_mb"]
    rest = f"{mode['workers_mb']:.0f} | {mode['start_s']:.1f} s"
    return f"| {WAYS[mode['mode']]} | {idle:.0f} | {worked:.0f} | {rest} |"


def peer(each: dict[str, Any]) -> str:
    """One line of the table of peers."""
    name = "**ours**" if each["peer"] == "zygote" else f"{each['peer']} ({each['note']})"
    if each["idle_mb"] is None:
        return f"| {name} | – | – | – | – |"
    crash = "–" if each["crash_ready_ms"] is None else f"{each['crash_ready_ms']:.0f} ms"
    private = f"{each['private_worked_mb']:.1f}"
    return f"| {name} | {each['idle_mb']:.0f} | {each['worked_mb']:.0f} | {private} | {crash} |"


def timing(label: str, figures: dict[str, Any]) -> str:
    """One line of the latency table."""
    return f"| {label} | {figures['p50']:.2f} ms | {figures['p99']:.2f} ms |"


def main() -> int:
    results = ROOT / "benchmarks" / "results"
    spawn = json.loads((results / "spawn.json").read_text())
    fleet = json.loads((results / "fleet.json").read_text())
    bake = json.loads((results / "bake.json").read_text())
    peers = json.loads((results / "peers-32.json").read_text())
    readme = ROOT / "README.md"
    old = readme.read_text()
    head, tail = old.split(BEGIN)[0], old.split(END)[1]
    new = f"{head}{BEGIN}\n{figures(spawn, fleet, bake, peers)}\n{END}{tail}"
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
