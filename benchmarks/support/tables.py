"""README's tables: Markdown from the results of the benchmarks, one function a table."""

from __future__ import annotations

from typing import Any

Result = dict[str, Any]

WAYS = {
    "cold": "cold processes",
    "supervise": "all workers in one process (`decnetctl supervise`)",
    "naive": "fork after import and warm-up",
    "freeze": "the same with `gc.freeze`",
    "zygote": "**the fleet as it ships**",
}


def fleet(found: Result) -> list[str]:
    """All processes in five ways of running them."""
    first = found["modes"][0]
    ours = next(mode for mode in found["modes"] if mode["mode"] == "zygote")
    low, high = ours["private_mb"]
    return [
        f"decnet's whole fleet, {first['workers']} workers and {first['decoys']} decoys, managers "
        f"and zygotes included, after {found['seconds']:.0f} s of the same scripted attackers. "
        f"CPython {found['python']}, {found['cores']} cores; PSS + page tables, MB of 10^6 bytes:",
        "",
        "| way | idle | worked | of that, all but decoys | start |",
        "|---|---:|---:|---:|---:|",
        *(_mode(mode) for mode in found["modes"]),
        "",
        f"Private memory of a worker after the load: {low:.1f} to {high:.1f} MB. "
        "`supervise` has one fate, one uid and one limit for all workers; its decoys, and those "
        "of `cold`, are cold processes. `.venv/bin/python benchmarks/fleet.py`",
        "",
        "![Memory of the fleet in five ways of running it](benchmarks/results/fleet.png)",
    ]


def _mode(mode: Result) -> str:
    idle = mode["idle"]["pss_mb"] + mode["idle"]["pagetables_mb"]
    worked = mode["pss_mb"] + mode["pagetables_mb"]
    rest = f"{mode['workers_mb']:.0f} | {mode['start_s']:.1f} s"
    return f"| {WAYS[mode['mode']]} | {idle:.0f} | {worked:.0f} | {rest} |"


def drift(found: Result) -> list[str]:
    """What became of the sharing."""
    workers = [each for each in found["workers"] if "decoy" not in each["worker"]]
    gained = sorted(workers, key=lambda each: each["unshared_gained"])
    stored = max(workers, key=lambda each: each["fresh_gained"])
    middle, most = gained[len(gained) // 2], gained[-1]
    return [
        f"**It stays shared.** From minute one to minute {found['minutes']:.0f} of steady load "
        f"the median worker un-shared {middle['unshared_gained'] / 1e6:.2f} MB of the floor, the "
        f"most was {most['unshared_gained'] / 1e6:.1f} MB (`{most['worker']}`). What workers "
        "stored themselves grew by up to "
        f"{stored['fresh_gained'] / 1e6:.1f} MB (`{stored['worker']}`). "
        f"`.venv/bin/python benchmarks/drift.py --minutes {found['minutes']:.0f}`",
        "",
        "![Private memory of each worker over an hour](benchmarks/results/drift.png)",
    ]


def peers(found: Result, others: list[Result]) -> list[str]:
    """The same app under other ways to run N processes."""
    sizes = " and ".join(f"{each['n']} ({_ours(each)})" for each in others)
    more = f" Measured for other numbers as well, {sizes}: `benchmarks/results/`." if others else ""
    return [
        f"| {found['n']} workers of one small app under … | idle | worked | private, worked | "
        "crash to ready |",
        "|---|---:|---:|---:|---:|",
        *(_peer(each) for each in found["peers"]),
        "",
        "MB of all processes; private MB of the median worker. "
        f"`.venv/bin/python benchmarks/peers.py --n {found['n']}` (it says what each was given)."
        + more,
    ]


def _ours(found: Result) -> str:
    measured = [each for each in found["peers"] if each.get("worked_mb")]
    rows = {each["peer"]: each["worked_mb"] for each in measured}
    ours = rows.pop("zygote")
    best = min(rows, key=rows.__getitem__)
    return f"ours {ours:.0f} MB worked, next {best} {rows[best]:.0f}"


def _peer(each: Result) -> str:
    name = "**ours**" if each["peer"] == "zygote" else f"{each['peer']} ({each['note']})"
    if each.get("idle_mb") is None:
        return f"| {name} | – | – | – | – |"
    crash = "–" if each["crash_ready_ms"] is None else f"{each['crash_ready_ms']:.0f} ms"
    private = f"{each['private_worked_mb']:.1f}"
    return f"| {name} | {each['idle_mb']:.0f} | {each['worked_mb']:.0f} | {private} | {crash} |"


def bake(found: Result) -> list[str]:
    """The bake, stage by stage."""
    return [
        f"| bake of {found['floor']}, stage by stage | idle | after gc | worked | zygote | bake |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {r['name']} | {r['idle_mb']:.2f} | {r['gc_mb']:.2f} | {r['worked_mb']:.2f} | "
            f"{r['zygote_mb']:.0f} | {r['seconds']:.1f} s |"
            for r in found["stages"]
        ),
        "",
        "Private MB of one asyncio worker. `.venv/bin/python benchmarks/bake.py`; on a floor of "
        "your own: `zygotectl bake --compare`",
    ]


def spawn(found: Result) -> list[str]:
    """Latency."""
    return [
        f"| from “start it” to its first line, {found['modules']} modules | p50 | p99 |",
        "|---|---:|---:|",
        _timing("`os.fork` of the same modules, not baked", found["fork_ms"]),
        _timing("a spawn from the zygote", found["spawn_ms"]),
        _timing("a cold start", found["cold_ms"]),
        "",
        f"A spawn takes {found['spawn_over_fork']} × `os.fork`, a cold start "
        f"{found['cold_over_spawn']:.0f} × a spawn. `.venv/bin/python benchmarks/spawn.py`",
    ]


def _timing(label: str, figures: Result) -> str:
    return f"| {label} | {figures['p50']:.2f} ms | {figures['p99']:.2f} ms |"


def blanks(found: Result) -> list[str]:
    """Clones made ahead of time."""
    ours, plain = found["spawn_ms"]["with"], found["spawn_ms"]["without"]
    cost = found["blank"]
    return [
        f"**Blanks.** With `blanks = {found['blanks']}` a spawn takes one of the clones that wait: "
        f"its set-up runs after {found['fork_ms']['with']['p50']:.2f} ms (median), its first line "
        f"after {ours['p50']:.2f}; without, in the same run, "
        f"{found['fork_ms']['without']['p50']:.2f} and {plain['p50']:.2f}. "
        f"One costs {cost['private_mb']:.2f} MB and {cost['pagetables_mb']:.2f} MB of page tables. "
        f"`.venv/bin/python benchmarks/blanks.py --n {found['n']}`",
    ]


def refork(found: Result) -> list[str]:
    """A warm worker as the mold."""
    bakes = found["bakes"]
    bare, warm = bakes["without warm-up"], bakes["with warm-up"]
    return [
        "**A warm worker as the mold** of the next generation (`zygotectl refork`): where the bake "
        f"has no warm-up a worked worker then has {bare['reforked']['private_mb']:.1f} MB of its "
        f"own instead of {bare['plain']['private_mb']:.1f}, where it has one "
        f"{warm['reforked']['private_mb']:.1f} instead of {warm['plain']['private_mb']:.1f}: "
        "a good warm-up is worth more, and carries nobody's data. "
        f"`.venv/bin/python benchmarks/refork.py --rounds {found['rounds']}`",
    ]


def thousand(found: Result) -> list[str]:
    """A thousand decoys."""
    storm = found["storm"]
    return [
        f"**{found['n']:,} live decoys**, each its own process and port: "
        f"{found['memavailable_mb'] / 1000:.2f} GB of MemAvailable, started in "
        f"{found['start_s']:.0f} s, {found['answered']:,} answered a real client, `ps` "
        f"{found['ps_s']:.1f} s, manager {found['manager_mb']:.0f} MB and "
        f"{found['manager_cpu_percent']:.1f} % of a CPU; all killed at once, they were back in "
        f"{storm['all_s']:.0f} s. `.venv/bin/python benchmarks/thousand.py --n {found['n']}`",
    ]


def chaos(found: Result) -> list[str]:
    """Kills."""
    kills = found["kills"]
    number = sum(kills.values())
    hit = ", ".join(f"{count} {name}" for name, count in kills.items())
    options = f"--kills {number} --seed {found['seed']}"
    options += " --quick-bake" if found["quick_bake"] else ""
    others = "; ".join(line.partition(" died")[0] for line in found["collateral"])
    return [
        f"**{number:,} kills under load** ({hit}; beside them pauses, full disks, locked "
        f"databases, floods): {len(found['collateral'])} others died{others and f' ({others})'}, "
        f"{found['sent']:,} events "
        f"sent = stored = profiled = shown, {found['lost']} lost, {found['doubled']} doubled, "
        f"{len(found['ghosts'])} ghosts, {len(found['leaked'])} leaks. "
        f"`.venv/bin/python benchmarks/chaos.py {options}`",
    ]


def regression(found: Result) -> list[str]:
    """CPython's own tests."""
    verdict = "come out as" if found["same"] else "do not all come out as"
    return [
        f"**Correct first.** {found['tests']:,} of CPython's own tests, in "
        f"{len(found['modules'])} modules, {verdict} in a cold process when a worker of the fully "
        "baked floor runs them. `.venv/bin/python benchmarks/regression.py`",
    ]


def audit(found: Result) -> list[str]:
    """Popular packages."""
    refused, stubborn = len(found["refused"]), len(found["refused_with_remedies"])
    number = found["packages"] if isinstance(found["packages"], int) else len(found["packages"])
    return [
        f"**May it be forked?** Of {number} popular packages {number - refused} may, after an "
        f"import; {refused} start native threads, and for {refused - stubborn} of these `zygotectl "
        "audit` names the variable that stops them. "
        "`.venv/bin/python benchmarks/audit_popular.py`",
    ]


def tree(found: Result) -> list[str]:
    """Sniffer and probe, which need scapy, in four arrangements."""
    labels = {
        "tree": "**a branch of the floor, as shipped**",
        "flat": "a second zygote from nothing",
        "one": "one floor for all, scapy in every worker's address space",
        "cold": "the two as cold processes",
    }
    return [
        "| two of eighteen workers need scapy; they live on … | the fleet, idle | the branch or "
        "second zygote alone |",
        "|---|---:|---:|",
        *(
            f"| {labels[mode['mode']]} | {mode['whole_mb']:.0f} | {_alone(mode)} |"
            for mode in found["modes"]
        ),
        "",
        "MB, no decoys. `.venv/bin/python benchmarks/tree.py`; when a branch pays: `zygotectl help "
        "zygotes`.",
    ]


def _alone(mode: Result) -> str:
    packet = mode["zygotes"].get("packet")
    return f"{packet['alone_mb']:.0f}" if packet else "–"


def reload(found: Result) -> list[str]:
    """New code under load."""
    return [
        f"**New code without down time.** {found['rolls']} reloads of {found['workers']} HTTP "
        f"workers while {found['clients']} clients ask without pause: {found['requests']:,} "
        f"requests, {found['failed']} failed, {found['ghosts']} ghosts; {found['first_mb']:.1f} MB "
        f"after the first, {found['last_mb']:.1f} after the last, {found['overshoot_mb']:.1f} more "
        "at most amid one. `.venv/bin/python benchmarks/reload.py`; how: `zygotectl help reload`.",
    ]


def isolation(found: Result) -> list[str]:
    """Workers that are no layout twins."""
    rows = {mode["mode"]: mode for mode in found["modes"]}
    fork, own, fresh = (rows[name] for name in ("fork", "class", "exec"))
    return [
        f"**What it costs not to share a layout.** {found['workers']} copies of decnet's floor: "
        f"{fork['whole_mb']:.0f} MB, ready after {fork['ready_ms']:.0f} ms. "
        f'`isolation = "class:…"` for half of them: {found["class_mb"]:.0f} MB more, once for the '
        f'class, {own["ready_ms"]:.0f} ms. `isolation = "exec"`: {found["exec_mb"]:.0f} MB more '
        f"for each, {fresh['ready_ms']:.0f} ms. [What an attacker gains](docs/isolation.md); "
        "`.venv/bin/python benchmarks/isolation.py`",
    ]
