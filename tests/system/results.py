"""What came of a run of the system tests, as a page."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from zygote import __version__


def lines(stats: Mapping[str, Sequence[Any]], chosen: Collection[str]) -> Iterator[str]:
    """Markdown, from pytest's reports by outcome, and the names of all that were to run."""
    found: dict[str, str] = {}
    seconds: dict[str, float] = {}
    notes: list[tuple[str, object]] = []
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in stats.get(outcome, ()):
            found[report.nodeid] = outcome
    for name in chosen:  # the time was up before
        found.setdefault(name, "not reached")
    for reports in stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid] = seconds.get(report.nodeid, 0.0) + report.duration
                if report.when == "call":
                    notes += report.user_properties
    yield "# System tests"
    yield ""
    yield f"zygote {__version__}, CPython {platform.python_version()}, {_systemd()}, Linux"
    yield f"{platform.release()}, cgroup v2, in the VM. Times are those of an emulated machine."
    yield ""
    counts = [
        f"{list(found.values()).count(each)} {each}" for each in dict.fromkeys(found.values())
    ]
    yield f"{len(found)} tests: {', '.join(counts)}; {sum(seconds.values()):.0f} s."
    yield ""
    yield from (f"- {name}: {value}" for name, value in notes)
    yield ""
    yield "| test | | s |"
    yield "|---|---|---:|"
    for name in sorted(found):
        short = name.removeprefix("tests/system/").replace("::", " ").replace("|", "/")
        yield f"| {short} | {found[name]} | {seconds.get(name, 0.0):.1f} |"
    yield ""
    yield "<!-- end -->"


def _systemd() -> str:
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "no systemd"
    return done.stdout.split("\n", 1)[0].partition(" (")[0]
