"""The whole fleet under scripted attackers: is everything that was sent stored, profiled and shown?

    .venv/bin/python benchmarks/load.py [--seconds 60] [--rate 8] [--seed 7] [--json]

Starts the fleet on free ports and a scratch state folder, lets a crowd from the seed visit its
decoys over real connections (ssh, http, ftp, telnet, smtp, redis, raw tcp), each attacker from an
address of its own, waits until the counts agree, and stops. A deed counts as sent once the decoy
has answered it.

    sent       deeds that were answered
    stored     of those, marks found in the database (lost: those that are not)
    doubled    rows beyond the first for a mark, and profiles with more events than there are rows
    profiled   of the stored, those whose attacker's profile has exactly the events of its rows
    shown      of the sent, those that came over the REST interface's event stream
    delay_ms   from the decoy's answer to the event stream

Exit code 0 only where sent = stored = profiled = shown, nothing is lost or doubled, and all
eighteen workers are ready at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from decnet.load.audit import audited
from decnet.load.crowd import Tally, plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import Manager, running
from decnet.run.prepare import prepare
from decnet.run.probe import processes
from decnet.settings import Settings
from decnet.workers import WORKERS
from zygote.fleet import where

SAID: set[str] = set()


def say(line: str) -> None:
    """Progress, for people; each line once."""
    if line not in SAID:
        SAID.add(line)
        print(f"load.py: {line}", file=sys.stderr, flush=True)


async def load(given: argparse.Namespace) -> dict[str, Any]:
    """Start, send, count, stop."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    log = settings.state_dir / "manager.log"
    runtime_dir = where.runtime_dir(str(FLEET), None)
    async with running(FLEET, runtime_dir, dict(os.environ), log, say) as manager:
        await all_ready(manager, asyncio.Event(), say)
        return await visit(manager, settings, given)


async def visit(manager: Manager, settings: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """The crowd, on a fleet that is ready."""
    async with audited(settings) as audit:
        steps = plan(await targets(manager.socket, settings), given.seconds, given.rate, given.seed)
        say(f"{len(steps)} deeds of {len({s.source for s in steps})} attackers …")
        began = time.monotonic()
        tally = await send(steps, settings.decoy_host, asyncio.Event(), progress(len(steps)))
        took = time.monotonic() - began
        say("waiting until the counts agree …")
        outcome = await audit.settled(tally)
    for why in list(tally.failed.values())[:5]:
        say(f"unanswered: {why}")
    workers = await (await manager.client()).workers()
    ours = [w for w in workers if w.name in WORKERS]
    return {
        **asdict(outcome),
        "ok": outcome.ok,
        "seconds": round(took, 1),
        "seed": given.seed,
        "attackers": len(tally.sources),
        "workers_ready": sum(w.ready for w in ours),
        "decoys_ready": sum(w.ready for w in workers if w.name not in WORKERS),
        "restarts": sum(w.restarts for w in workers),
        "memory": (await processes(manager)) if given.memory else None,
    }


def progress(whole: int) -> Any:
    """Tell every tenth part."""

    def told(tally: Tally) -> None:
        done = len(tally.done) + len(tally.failed)
        if done * 10 // whole != (done - 1) * 10 // whole:
            say(f"{done} of {whole} deeds")

    return told


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the load")
    parser.add_argument("--rate", type=float, default=8.0, help="deeds a second, on average")
    parser.add_argument("--seed", type=int, default=7, help="the same seed is the same crowd")
    parser.add_argument("--memory", action="store_true", help="add each process's memory")
    given = parser.parse_args()
    with surroundings(scratch=True) as env:
        os.environ.update(env)
        result = asyncio.run(load(given))
    if given.json:
        print(json.dumps(result))
    else:
        for name in ("sent", "stored", "profiled", "shown", "lost", "doubled", "unanswered"):
            print(f"  {name:10}{result[name]:8}")
        print(
            f"  delay ms  p50 {result['delay_ms']['p50']:.0f}, p99 {result['delay_ms']['p99']:.0f}"
        )
        print(f"  workers ready {result['workers_ready']}, restarts {result['restarts']}")
    return 0 if result["ok"] and result["workers_ready"] == len(WORKERS) else 1


if __name__ == "__main__":
    sys.exit(main())
