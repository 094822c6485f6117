"""Kill anything, at random, under load: who else dies, what is lost, how long until it is back?

    .venv/bin/python benchmarks/chaos.py [--kills 1000] [--seed 7] [--rate 6] [--json]

The whole honeypot fleet runs while scripted attackers visit its decoys. A plan from the seed kills
the manager (started again by this program, as systemd would), zygotes, the bus, workers and
decoys, by SIGKILL, SIGSEGV and SIGBUS, some in pairs within milliseconds; in between it stops
processes for a while, takes their descriptors, floods the control socket, locks the database,
fills the disk and, in a delegated cgroup v2, lets a worker eat beyond its limit. The same seed
is the same plan; how the processes race is the machine's.

    kills       by target; the hogs that ate are counted apart
    collateral  processes that died without having been hit, and restarts that no kill explains
    recycled    workers that were replaced in good order because of max_private: the last one of a
                zygote that was killed has the whole floor as its own
    starved_bakes  zygotes that ended amid a bake because the fault took their descriptors: those
                were hit, and are baked again
    hog_ends    how hogs ended; all should be oom_killed
    lost        deeds that a decoy had answered, and that are not in the database
    doubled     rows beyond the first for a deed, and profiles that count more events than there are
    ghosts      processes that nobody answers for, at the end
    leaked      descriptors, state files, cgroups and sockets that should not be there, at the end
    recovery_ms from the kill to ready again; `alone`: where nothing else was down in that moment

SIGINT, SIGTERM or --minutes end the plan early; what was done is counted and reported all the same.
start_limit is off: so many kills would be a reason to give up. Exit code 0 only where collateral,
lost, doubled, ghosts and leaked are all empty and everybody is ready at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import chaos_blows, options
from benchmarks.support.chaos_blows import Blow, Dealer
from benchmarks.support.chaos_ground import BAKE_SECONDS, find_ground, fleet_text, keep, small_disk
from benchmarks.support.chaos_keeper import Keeper, python
from benchmarks.support.chaos_report import (
    WHERE,
    Diary,
    after_stop,
    leaked,
    lost_deeds,
    ok,
    report,
    show,
)
from benchmarks.support.chaos_watch import Watch
from benchmarks.support.figures import count_fds
from decnet.load.audit import audited
from decnet.load.crowd import Tally, Target, plan, send
from decnet.load.fleet import targets
from decnet.load.outcome import read_stored
from decnet.run.__main__ import surroundings
from decnet.run.prepare import prepare
from decnet.run.variables import variables
from decnet.settings import Settings

ENDING = asyncio.Event()
"""Deal no more blows."""
OPEN_MOST = 10
"""Processes that may be down at once before the next blow waits."""
CROWD_SECONDS = 60.0
SETTLE_SECONDS = 180.0


def say(line: str) -> None:
    """Progress, for people."""
    print(f"chaos.py: {line}", file=sys.stderr, flush=True)


async def chaos(given: argparse.Namespace, disk: Path | None) -> dict[str, Any]:
    """Start, strike, wait, count, stop."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    runtime = Path(os.environ["ZYGOTE_RUNTIME_DIR"])
    fleet = settings.state_dir.parent / "fleet.toml"
    ground = find_ground()
    fleet.write_text(fleet_text(given.quick_bake, hog=ground is not None))
    argv = [*python(), "--fleet", str(fleet), "--runtime-dir", str(runtime)]
    keeper = Keeper(argv, dict(os.environ), runtime.parent / "manager.log", ground)
    say("starting the fleet …")
    keeper.start()
    await keeper.answer()
    watch = Watch(keeper, runtime / "control.sock")
    watching = asyncio.create_task(watch.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ENDING.set)
    try:
        await until(lambda: watch.settled, "the fleet is not ready", patience(given))
        return await strike(given, settings, watch, disk)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await watch.close()
        await keeper.stop()


async def strike(
    given: argparse.Namespace, settings: Settings, watch: Watch, disk: Path | None
) -> dict[str, Any]:
    """All blows, with a crowd about; then the counts."""
    assert settings.db_file
    cannot = set() if disk else {"disk"}
    cannot |= set() if hungry(watch) else {"hog"}
    faults = [fault for fault in chaos_blows.FAULTS if fault not in cannot] if given.faults else []
    blows = chaos_blows.plan(given.seed, given.kills, names_of(watch), faults)
    fds = {name: count_fds(w.pid or 0) for name, w in watch.workers.items()}
    fds["manager"] = count_fds(watch.keeper.pid)
    stopped, began = asyncio.Event(), time.monotonic()
    if given.minutes:
        asyncio.get_running_loop().call_later(given.minutes * 60, ENDING.set)
    async with audited(settings) as audit:
        found = await targets(watch.socket, settings)
        crowd = asyncio.create_task(visit(found, settings.decoy_host, given, stopped))
        dealer = Dealer(watch, settings.db_file, disk)
        diary: Diary = []
        counts = await deal_all(blows, dealer, watch, given, diary)
        took = time.monotonic() - began
        stopped.set()
        tally = await crowd
        say(f"{len(watch.hits)} kills in {took:.0f} s; waiting until all is well …")
        with contextlib.suppress(TimeoutError):
            await until(lambda: watch.settled, "not everybody is back", patience(given))
        outcome = await audit.settled(tally, SETTLE_SECONDS)
        lost = lost_deeds(tally, set((await read_stored(audit.database)).marks), diary)
        await asyncio.sleep(2)
    left = leaked(watch, fds)
    ghosts = watch.ghosts()
    watch.ending = True
    in_time = await watch.keeper.stop()
    left += after_stop(watch) + ([] if in_time else ["the manager did not stop in time"])
    said = report(given, watch, outcome, counts, took, ghosts, left, faults, dealer.hog_ends)
    return said | {"lost_deeds": lost}


async def visit(
    found: list[Target], host: str, given: argparse.Namespace, stopped: asyncio.Event
) -> Tally:
    """One crowd after the other until stopped; what all of them know."""
    whole = Tally()
    turn = 0
    while not stopped.is_set():
        turn += 1
        steps = plan(found, CROWD_SECONDS, given.rate, given.seed * 10_000 + turn)
        WHERE.update((step.mark, step.target.worker) for step in steps)
        tally = await send(steps, host, stopped)
        whole.done |= tally.done
        whole.failed |= tally.failed
        whole.sources |= tally.sources
    return whole


async def deal_all(
    blows: list[Blow], dealer: Dealer, watch: Watch, given: argparse.Namespace, diary: Diary
) -> Counter[str]:
    """Deal the blows, the next as soon as its victims are there; blows by kind."""
    counts: Counter[str] = Counter()
    waiting, dealt, told = list(blows), 0, 0
    kills, most = given.kills, patience(given)
    while waiting and not ENDING.is_set():
        if len(watch.down()) >= OPEN_MOST:
            try:
                await until(lambda: len(watch.down()) < OPEN_MOST, "too many stay down", most)
            except TimeoutError:
                break
        # In the plan's order, but for those whose victim is just not there.
        blow = next((b for b in waiting if all(dealer.find(v) for v in b.victims)), None)
        if blow is None:
            await asyncio.sleep(0.05)
            continue
        waiting.remove(blow)
        if blow.what != "kill":
            say(chaos_blows.text(blow))
        diary.append((time.monotonic(), chaos_blows.text(blow)))
        dealt += await dealer.deal(blow)
        counts[blow.what] += 1
        if dealt * 20 // kills != told:
            told = dealt * 20 // kills
            say(f"{dealt} of {kills} kills; collateral {len(watch.collateral)}")
        await asyncio.sleep(blow.pause)
    return counts


async def until(condition: Any, what: str, seconds: float = SETTLE_SECONDS) -> None:
    """Wait for it.

    Raises:
        TimeoutError: says what did not come about.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            say(f"after {seconds:.0f} s: {what}")
            raise TimeoutError(what)
        await asyncio.sleep(0.05)


def names_of(watch: Watch) -> dict[str, list[str]]:
    """Kind of target -> process names, in an order that does not depend on the machine."""
    names: dict[str, list[str]] = {kind: [] for kind in chaos_blows.SHARES}
    for process in watch.live.values():
        names[process.kind].append(process.name)
    return {kind: sorted(found) for kind, found in names.items()}


def patience(given: argparse.Namespace) -> float:
    """Seconds that a recovery may take."""
    return SETTLE_SECONDS if given.quick_bake else BAKE_SECONDS


def hungry(watch: Watch) -> bool:
    """Whether there is a hog, and a limit that will stop it."""
    hog = watch.workers.get(chaos_blows.HOG)
    return hog is not None and hog.limits_enforced


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7, help="the same seed is the same plan")
    parser.add_argument("--minutes", type=float, help="deal no more blows after so long")
    parser.add_argument("--rate", type=float, default=6.0, help="deeds a second, on average")
    parser.add_argument("--no-faults", dest="faults", action="store_false", help="kills alone")
    parser.add_argument("--quick-bake", action="store_true", help="zygotes freeze, and no more")
    parser.add_argument("--keep", type=Path, help="copy logs and database here at the end")
    given = parser.parse_args()
    with surroundings(scratch=True) as env, small_disk() as disk:
        if disk:
            (disk / "fleet").mkdir()
            env |= {"DECNET_STATE_DIR": str(disk / "fleet" / "state")}
        os.environ.update(env, DECNET_MUTATE_INTERVAL="0")
        os.environ.update(variables(os.environ))
        try:
            result = asyncio.run(chaos(given, disk))
        finally:
            if given.keep:
                keep(given.keep)
    print(json.dumps(result)) if given.json else show(result)
    return 0 if ok(result) else 1


if __name__ == "__main__":
    sys.exit(main())
