"""What came of a run of chaos.py: what is left, what is lost, and the table."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.support import chaos_blows
from benchmarks.support.about import about
from benchmarks.support.chaos_watch import Watch
from benchmarks.support.figures import count_fds
from decnet.load.crowd import Tally
from decnet.load.outcome import Outcome

FD_SLACK = 6
"""Descriptors that a worker may have more than at first: connections that come and go."""
Diary = list[tuple[float, str]]
"""When a blow was dealt, and which."""
WHERE: dict[str, str] = {}
"""Mark of a planned deed -> the decoy that it is for."""


def lost_deeds(tally: Tally, stored: set[str], diary: Diary) -> list[str]:
    """The deeds that are not in the database, and what was done to the fleet around them."""
    found = []
    for mark in sorted(set(tally.done) - stored):
        at = tally.done[mark]
        around = [f"{text} {when - at:+.1f} s" for when, text in diary if -5 < when - at < 5]
        found.append(f"{mark} on {WHERE.get(mark, '?')}: {'; '.join(around)}")
    return found


def leaked(watch: Watch, before: dict[str, int]) -> list[str]:
    """What there is more of than there was, now that all is quiet."""
    found = []
    for name, worker in watch.workers.items():
        now = count_fds(worker.pid or 0)
        if now > before.get(name, now) + FD_SLACK:
            found.append(f"descriptors of {name}: {before[name]} at first, {now} now")
    now = count_fds(watch.keeper.pid)
    if now > before["manager"] + FD_SLACK:
        found.append(f"descriptors of the manager: {before['manager']} at first, {now} now")
    state = watch.socket.parent / "state"
    for path in state.glob("*.json"):
        if path.stem not in watch.workers:
            found.append(f"state file {path.name} of nobody")
    leaves = {Path(w.cgroup) for w in watch.workers.values() if w.cgroup}
    for base in {leaf.parent for leaf in leaves}:
        for group in base.glob("worker.*"):
            if group not in leaves:
                found.append(f"cgroup {group}")
    return found


def after_stop(watch: Watch) -> list[str]:
    """What a fleet that was stopped in order has left."""
    watch.workers, watch.zygotes = {}, {}
    left = [f"after the stop: {ghost}" for ghost in watch.ghosts()]
    runtime = watch.socket.parent
    groups = watch.keeper.ground.glob("chaos-*/worker.*") if watch.keeper.ground else ()
    left += [f"after the stop: cgroup {group}" for group in groups]
    return left + [f"after the stop: {p.name}" for p in runtime.glob("*.sock")]


def report(
    given: argparse.Namespace, watch: Watch, outcome: Outcome, counts: Counter[str],
    took: float, ghosts: list[str], left: list[str], faults: list[str], hog_ends: Counter[str],
) -> dict[str, Any]:  # fmt: skip
    """The whole of it, as JSON has it."""
    hits = Counter(hit.name for hit in watch.hits)
    restarts = [
        f"{name}: {w.restarts} restarts, {hits[name]} kills"
        for name, w in watch.workers.items() if w.restarts > hits[name]
    ]  # fmt: skip
    back = [hit for hit in watch.hits if hit.recovered is not None]
    kinds = [kind for kind in chaos_blows.SHARES if any(h.kind == kind for h in back)]
    return {
        "kills": dict(Counter(hit.kind for hit in watch.hits)),
        "faults": {k: n for k, n in counts.items() if k != "kill"},
        "collateral": watch.collateral + restarts,
        "recycled": len(watch.strays) - len(watch.collateral) - watch.starved,
        "starved_bakes": watch.starved,
        "hog_ends": dict(hog_ends),
        "sent": outcome.sent,
        "stored": outcome.stored,
        "profiled": outcome.profiled,
        "shown": outcome.shown,
        "lost": outcome.lost,
        "doubled": outcome.doubled,
        "unanswered": outcome.unanswered,
        "ghosts": ghosts,
        "leaked": left,
        "zygotes_gone_with_manager": watch.went_along,
        "not_back": [hit.name for hit in watch.hits if hit.recovered is None],
        "recovery_ms": {
            "all": spread([h.recovered - h.at for h in back if h.recovered]),
            "alone": {
                kind: spread([h.recovered - h.at for h in back
                              if h.recovered and h.kind == kind and not h.busy])
                for kind in kinds
            },
        },
        "manager_starts": watch.keeper.starts,
        "seconds": round(took, 1),
        "seed": given.seed,
        "rate": given.rate,
        "quick_bake": given.quick_bake,
        "not_done": not_done(given, faults),
        **about(),
    }  # fmt: skip


def not_done(given: argparse.Namespace, faults: list[str]) -> dict[str, str]:
    """Faults that this run did not have, and why."""
    found = {}
    if not given.faults:
        found["faults"] = "--no-faults"
    elif "disk" not in faults:
        found["disk"] = "a small file system cannot be mounted here (it takes root)"
    if given.faults and "hog" not in faults:
        found["hog"] = (
            "a worker over its memory limit needs a delegated cgroup v2: "
            "tests/system/test_chaos_hog.py, in the VM"
        )
    found["clock"] = (
        "the machine's clock is not ours to set: tests/system/test_clock.py, in the VM, and "
        "tests/unit/test_clock_jumps.py"
    )
    return found


def spread(seconds: list[float]) -> dict[str, float]:
    """In milliseconds; {} of nothing. Looked at every 100 ms, so that much may be too much."""
    if not seconds:
        return {}
    ordered = sorted(second * 1e3 for second in seconds)
    return {
        "p50": round(ordered[len(ordered) // 2]),
        "p99": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]),
        "max": round(ordered[-1]),
        "count": len(ordered),
    }


def ok(result: dict[str, Any]) -> bool:
    """Whether nothing happened but what was asked for."""
    bad = ("collateral", "lost", "doubled", "ghosts", "leaked", "not_back")
    starved = set(result["hog_ends"]) <= {"oom_killed"}
    return (
        not any(result[name] for name in bad) and starved and result["sent"] == result["profiled"]
    )


def show(result: dict[str, Any]) -> None:
    """The table."""
    for kind, count in result["kills"].items():
        alone = result["recovery_ms"]["alone"].get(kind, {})
        times = (
            f"ready again after {alone['p50']} ms (p50), {alone['p99']} ms (p99)" if alone else ""
        )
        print(f"  {kind:9}{count:6} kills   {times}")
    for name in ("sent", "stored", "profiled", "shown", "lost", "doubled", "unanswered"):
        print(f"  {name:9}{result[name]:6}")
    for name in ("collateral", "lost_deeds", "ghosts", "leaked", "not_back"):
        print(f"  {name:10}{len(result[name]):5}")
        for line in result[name]:
            print(f"    {line}")
    if not ok(result):
        print(f"  again: benchmarks/chaos.py --kills {sum(result['kills'].values())} "
              f"--seed {result['seed']}")  # fmt: skip
