"""What `make run` shows: the bake's progress, then a live table and how to attack the fleet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from decnet.decoys.catalogue import PORT_STEP
from decnet.settings import Settings
from decnet.web.front.settings import WebSettings
from zygote.control.interface import WorkerState

COLUMNS = ("WORKER", "STATE", "PID", "AGE", "RSS", "PSS", "USS", "DIRTY", "TABLES", "RESTARTS")


def progress_printer(console: Console) -> Callable[[str], None]:
    """Prints each new step of the start, with the seconds since the first."""
    began, seen = time.monotonic(), set[str]()

    def say(line: str) -> None:
        if line not in seen:
            seen.add(line)
            text = f"[{time.monotonic() - began:6.1f} s] {line}"
            console.print(text, markup=False, soft_wrap=True)

    return say


def fleet(
    workers: list[WorkerState], memory: dict[int, dict[str, Any]], others: list[tuple[str, int]]
) -> Table:
    """One row a process: workers, then manager and zygotes, then the total.

    Args:
        workers: as the manager sees them.
        memory: pid -> figures in KiB, as `probe.memory` has them.
        others: (name, pid) of the manager and the zygotes.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("WORKER", "STATE") else "right")
    now, total = (
        time.time(),
        {"pss_kib": 0, "uss_kib": 0, "private_dirty_kib": 0, "pagetables_kib": 0},
    )
    for name, group in groups(workers):
        worker, rows = group[0], [memory.get(w.pid or 0, {}) for w in group]
        figures: dict[str, Any] = dict.fromkeys(total, 0) if len(group) > 1 else dict(rows[0])
        for row in rows:
            _sum(total, row)
            if len(group) > 1:
                _sum(figures, row)
        age = f"{now - worker.started_at:.0f}s" if worker.started_at and worker.pid else "-"
        style = {"ready": "green", "failed": "red", "backoff": "yellow"}.get(worker.state, "")
        table.add_row(
            name,
            Text(worker.state, style=style),
            str(worker.pid or "-") if len(group) == 1 else f"{len(group)} of them",
            age,
            *_figures(figures),
            str(sum(w.restarts for w in group)),
        )
    for name, pid in others:
        figures = memory.get(pid, {})
        _sum(total, figures)
        table.add_row(Text(name, style="dim"), "", str(pid), "", *_figures(figures), "")
    table.add_row(Text("all", style="bold"), "", "", "", *_figures({"rss_kib": None, **total}), "")
    return table


def groups(workers: list[WorkerState]) -> list[tuple[str, list[WorkerState]]]:
    """The workers in their order, decoys of one kind and state as one row with a name."""
    found: dict[tuple[str, str], list[WorkerState]] = {}
    for worker in workers:
        kind, _, number = worker.name.partition("-")
        is_decoy = worker.name.startswith("decoy@") and (number.isdigit() or not number)
        found.setdefault((kind if is_decoy else worker.name, worker.state), []).append(worker)
    return [
        (group[0].name if len(group) == 1 else f"{name} …", group)
        for (name, _), group in found.items()
    ]


def _figures(figures: dict[str, Any]) -> list[str]:
    names = ("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib")
    return [megabytes(figures.get(name)) for name in names]


def _sum(total: dict[str, int], figures: dict[str, Any]) -> None:
    for name in total:
        total[name] += figures.get(name) or 0


def megabytes(kib: int | None) -> str:
    """12.3 for 12012 KiB: MB of 10^6 bytes; "-" where the kernel does not say."""
    return "-" if kib is None else f"{kib * 1024 / 1e6:.1f}"


def comparison(
    memory: dict[int, dict[str, Any]], cold: dict[str, Any] | None, measuring: bool
) -> Text:
    """The line that the project is about: this fleet, and what it costs as cold processes."""
    ours = sum((m.get("pss_kib") or 0) + (m.get("pagetables_kib") or 0) for m in memory.values())
    text = Text(f"this fleet: {megabytes(ours)} MB (PSS + page tables, all processes)")
    if cold is None and not measuring:
        text.append("; as cold processes: not measured (too little memory for them, or not asked)")
    elif cold is None:
        text.append("; as cold processes: being measured once, in the background …", style="dim")
    elif cold.get("failed"):
        text.append(
            f"; as cold processes: not measured ({', '.join(cold['failed'])} did not start)"
        )
    else:
        other = cold["pss_kib"] + cold["pagetables_kib"]
        text.append(f"; as {cold['workers']} cold processes: {megabytes(other)} MB")
        text.append(f" (measured {cold['date'][:10]} on Python {cold['python']})", style="dim")
    return text


def howto(settings: Settings) -> str:
    """How to attack the fleet, look at it and steer it; one block of plain text."""
    host, ports = settings.decoy_host, settings.decoy_ports
    web = WebSettings.from_env(settings)
    # What this run was told by the environment, another terminal must be told as well.
    told = [
        f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(("DECNET_", "ZYGOTE_"))
    ]
    return "\n".join(
        (
            "Attack it (any password may be tried):",
            f"  ssh -p {ports['ssh']} root@{host}",
            f"  curl -i http://{host}:{ports['http']}/",
            f"  telnet {host} {ports['telnet']}",
            f"  curl -T FILE ftp://root:x@{host}:{ports['ftp']}/incoming/",
            f"  swaks -s {host}:{ports['smtp']} -t you@example.com",
            f"  redis-cli -h {host} -p {ports['redis']} info",
            f"  mysql --skip-ssl -h {host} -P {ports['mysql']} -u root -psecret",
            f"  nc {host} {ports['tcp']}",
            f"  (on decky-02, decky-03, …: a port {PORT_STEP} higher each)",
            "Look at it, from another terminal:",
            *([f"  export {' '.join(told)}"] if told else []),
            "  .venv/bin/decnetctl visits -f    (or ps, top, status, logs -f, attackers)",
            f"  http://{web.host}:{web.port}/  (user {settings.admin_user}, its password is in",
            f"  {settings.state_dir}/admin-password)",
            "Ctrl-C stops it.",
        )
    )


def live(table: Table, line: Text, text: str) -> Group:
    """The whole screen."""
    return Group(table, Text(), line, Text(), Text(text, style="dim"))
