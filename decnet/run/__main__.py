"""Run the fleet in the foreground, or probe it: `python -m decnet.run [--probe]`.

stdout carries the probe's JSON object and nothing else; all that is for people goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from decnet.run import screen
from decnet.run.manager import Manager, running
from decnet.run.ports import free_ports
from decnet.run.prepare import prepare
from decnet.run.probe import memory, probe
from decnet.settings import Settings
from decnet.workers import WORKERS
from zygote.errors import Exit, ZygoteError
from zygote.fleet import where
from zygote.sys.procfs import read_meminfo_kib

FLEET = Path(__file__).resolve().parent.parent / "fleet.toml"
REFRESH_SECONDS = 2.0
COLD_KIB = 70_000
"""About what a cold process costs; only to see whether there is room to measure it."""


def main() -> int:
    """Parse, set up the environment, run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="decnet.run", description="Run the honeypot fleet.")
    parser.add_argument(
        "--probe", action="store_true", help="one real visit, one JSON object, stop"
    )
    parser.add_argument(
        "--free-ports", action="store_true", help="take free ports, a scratch state"
    )
    parser.add_argument(
        "--load", action="store_true", help="let scripted attackers visit it meanwhile"
    )
    parser.add_argument("--no-cold", action="store_true", help="do not measure cold processes")
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        with surroundings(scratch=given.probe or given.free_ports) as env:
            os.environ.update(env)
            return asyncio.run(run(given, console))
    except ZygoteError as error:
        place = f" ({error.place})" if error.place else ""
        console.print(f"decnet: {error.message}{place}", markup=False, style="red", soft_wrap=True)
        if error.hint:
            console.print(f"  hint: {error.hint}", markup=False, soft_wrap=True)
        return error.exit_code or Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


@contextlib.contextmanager
def surroundings(scratch: bool) -> Iterator[dict[str, str]]:
    """The variables that this run adds: scratch folders and free ports where asked for."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not scratch:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="decnet-") as folder:
        state, runtime = Path(folder) / "state", Path(folder) / "run"
        yield {
            "DECNET_STATE_DIR": str(state),
            "ZYGOTE_RUNTIME_DIR": str(runtime),
            **free_ports(),
        }


async def run(given: argparse.Namespace, console: Console) -> int:
    """Migrate, start, show or probe, stop."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    runtime_dir = where.runtime_dir(str(FLEET), None)
    log = settings.state_dir / "manager.log"
    stopped = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        # While the floor bakes there is nothing to show and nothing to finish: give up at once.
        stopped.set()
        if not started:
            task.cancel()

    started = False
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    say = screen.progress_printer(console)
    say(f"starting the fleet of {FLEET.name}: the floor is imported once and baked")
    try:
        async with running(FLEET, runtime_dir, dict(os.environ), log, say) as manager:
            started = True
            settings = Settings.from_env()  # the bus has a folder of its own by now
            await all_ready(manager, stopped, say)
            if given.probe:
                report = await probe(manager, settings)
                print(json.dumps(report), flush=True)
            elif not stopped.is_set():
                await show(manager, settings, given, console, stopped)
            say("stopping")
    except asyncio.CancelledError:
        console.print("interrupted while starting; everything is stopped", markup=False)
        return Exit.INTERRUPTED
    return Exit.DONE


async def all_ready(manager: Manager, stopped: asyncio.Event, say: Any) -> None:
    """Wait until every worker that starts by itself is ready.

    Raises:
        ZygoteError: one failed for good; names it, its error and the way out.
    """
    while not stopped.is_set():
        if manager.process.returncode is not None:
            raise ZygoteError("the manager ended", hint="see manager.log in the state folder")
        wanted = [w for w in await (await manager.client()).workers() if w.autostart]
        for worker in wanted:
            if worker.state in ("failed", "backoff"):
                lines = _last_lines(worker.log)
                raise ZygoteError(
                    f"{worker.name} does not start: {lines[0] if lines else worker.error}",
                    code="worker-failed",
                    hint=" ".join(lines[1:]).replace("hint: ", "").strip() or worker.hint,
                )
            if worker.ready:
                took = f"spawned in {worker.spawn_ms or 0:.1f} ms"
                say(f"{worker.name}: ready, pid {worker.pid}, {took}")
        if all(w.ready for w in wanted):
            return
        await asyncio.sleep(0.1)


def _last_lines(path: str) -> list[str]:
    """A worker's last two words: its error and its hint, where it printed them."""
    try:
        lines = Path(path).read_text(errors="replace").strip().splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines[-2:]]


async def show(
    manager: Manager,
    settings: Settings,
    given: argparse.Namespace,
    console: Console,
    stopped: asyncio.Event,
) -> None:
    """The live table, until stopped or until the manager ends."""
    cold_file = settings.state_dir / "cold-cost.json"
    cold = None if given.no_cold else await start_cold(manager, cold_file)
    text = screen.howto(settings)
    crowd = await start_load() if given.load else None
    try:
        with Live(console=console, auto_refresh=False, transient=False) as display:
            if not console.is_terminal:
                console.print(text, markup=False, soft_wrap=True)
            while not stopped.is_set() and manager.process.returncode is None:
                workers, zygotes = (
                    await (await manager.client()).workers(),
                    await (await manager.client()).zygotes(),
                )
                others = [("manager", manager.process.pid)]
                others += [(f"zygote.{z.name}", z.pid) for z in zygotes if z.pid]
                pids = [w.pid for w in workers if w.pid] + [pid for _, pid in others]
                figures = {pid: memory(pid) for pid in pids}
                if console.is_terminal:
                    table = screen.fleet(workers, figures, others)
                    line = screen.comparison(figures, read_cold(cold_file), cold is not None)
                    display.update(screen.live(table, line, text), refresh=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), REFRESH_SECONDS)
    finally:
        for helper in (cold, crowd):
            if helper is not None and helper.returncode is None:
                helper.terminate()
                await helper.wait()


async def start_cold(manager: Manager, file: Path) -> asyncio.subprocess.Process | None:
    """Measure the same workers as cold processes in the background, unless that was done before."""
    if read_cold(file) is not None:
        return None
    workers = [w.name for w in await (await manager.client()).workers() if w.autostart]
    if not has_room(len(workers)):
        return None
    return await _background(
        *("decnet.run.cold", "--out", str(file)),
        *(f"{name}={arguments(name)}" for name in workers),
    )


def has_room(count: int) -> bool:
    """Whether so many cold processes fit beside what runs: on a small machine they do not."""
    return read_meminfo_kib("MemAvailable") > 2 * count * COLD_KIB


def arguments(worker: str) -> str:
    """How a worker is started cold: what comes after the interpreter."""
    if worker.startswith("decoy@"):
        return f"-m decnet.workers.decoy {worker.partition('@')[2]}"
    return f"-m {WORKERS[worker]}"


async def start_load() -> asyncio.subprocess.Process:
    """A small crowd of scripted attackers, in a process of its own."""
    return await _background("decnet.load")


async def _background(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        process_group=0,
    )


def read_cold(file: Path) -> dict[str, Any] | None:
    """The cached measurement, if it was made with this Python."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    version = ".".join(str(part) for part in sys.version_info[:3])
    return found if found.get("python") == version else None


if __name__ == "__main__":
    sys.exit(main())
