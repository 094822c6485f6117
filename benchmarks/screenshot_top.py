"""A picture of `decnetctl top` for README: what it draws on a terminal, as SVG.

    .venv/bin/python benchmarks/screenshot_top.py [--seconds 20] [--out docs/pictures/top.svg]
    .venv/bin/python benchmarks/screenshot_top.py --runtime-dir DIR --out FILE  # one that runs

The fleet is started for it on free ports, and visited by scripted attackers meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from decnet.load.crowd import plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import running
from decnet.run.prepare import prepare
from decnet.settings import Settings
from zygote.cli.context import current
from zygote.cli.fleet_table import HISTORY_LENGTH
from zygote.cli.top_view import View
from zygote.client.api import Client
from zygote.client.memory import take_census

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 110, 38
RATE, SEED = 5.0, 11


def main() -> int:
    """Parse, run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the load lasts")
    parser.add_argument("--runtime-dir", type=Path, help="of a fleet that runs already")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/top.svg"))
    given = parser.parse_args()
    if given.runtime_dir:
        asyncio.run(draw_top(given.runtime_dir / "control.sock", given.out, given.seconds))
        return 0
    with surroundings(scratch=True) as env:
        os.environ.update(env)
        asyncio.run(_with_a_fleet(given.seconds, given.out))
    return 0


async def _with_a_fleet(seconds: float, out: Path) -> None:
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    runtime = Path(os.environ["ZYGOTE_RUNTIME_DIR"])
    log = settings.state_dir / "manager.log"
    async with running(FLEET, runtime, dict(os.environ), log, lambda line: None) as manager:
        await all_ready(manager, asyncio.Event(), lambda line: None)
        socket = runtime / "control.sock"
        steps = plan(await targets(socket, settings), seconds, RATE, SEED)
        load = asyncio.ensure_future(send(steps, settings.decoy_host, asyncio.Event()))
        await draw_top(socket, out, seconds)
        await load


async def draw_top(socket: Path, out: Path, seconds: float = 20.0) -> None:
    """Look at a fleet for some seconds, as `top` does, and write what it then shows.

    Args:
        seconds: over which the history goes.
    """
    current.cold = measured_cold
    view = View("uss", reverse=False)
    before: dict[int, float] = {}
    looked = 0.0
    async with await Client.connect(socket) as manager:
        for _ in range(HISTORY_LENGTH):
            census = take_census(
                await manager.status(), await manager.zygotes(), await manager.workers(), None
            )
            used = {row.pid: row.cpu_s for row in census.rows() if row.pid and row.cpu_s}
            took, looked = time.monotonic() - looked, time.monotonic()
            view.take(
                census,
                {
                    pid: 100 * (cpu - before[pid]) / took
                    for pid, cpu in used.items()
                    if pid in before
                },
            )
            before = used
            await asyncio.sleep(seconds / HISTORY_LENGTH)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(svg(view, "decnetctl top"), encoding="utf-8")
    print(out, file=sys.stderr)


def measured_cold() -> tuple[float, str] | None:
    """What benchmarks/fleet.py has measured of the same workers: KiB, and when."""
    try:
        found = json.loads((ROOT / "benchmarks" / "results" / "fleet.json").read_text())
    except OSError:
        return None
    cold = next(each for each in found["modes"] if each["mode"] == "cold")
    words = f"measured {found['date']}, {cold['processes']} processes"
    return (cold["pss_mb"] + cold["pagetables_mb"]) * 1e6 / 1024, words


def svg(view: View, title: str) -> str:
    """What a view draws on a terminal of our size; no font is fetched from anywhere."""
    screen = Console(
        file=io.StringIO(), record=True, width=WIDTH, height=HEIGHT, force_terminal=True,
        color_system="truecolor", highlight=False, markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    screen._environ = {}  # neither NO_COLOR nor COLUMNS of whoever makes it
    screen.print(view.draw(screen, keys=True))
    own = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    own = re.sub(r"<!--.*?-->\s*", "", own, flags=re.DOTALL)
    return screen.export_svg(title=title, code_format=own, unique_id="top")


if __name__ == "__main__":
    sys.exit(main())
