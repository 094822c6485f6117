"""Let a crowd visit the running fleet until it is stopped: `python -m decnet.load [--rate 2]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from decnet.load.crowd import plan, send
from decnet.load.fleet import targets
from decnet.settings import Settings
from zygote.errors import ZygoteError
from zygote.fleet import where

ROUND_SECONDS = 60.0
FLEET = Path(__file__).resolve().parent.parent / "fleet.toml"


def main() -> int:
    """Parse and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="decnet.load", description="Attack the running fleet.")
    parser.add_argument("--rate", type=float, default=2.0, help="deeds a second, on average")
    parser.add_argument("--seed", type=int, default=None, help="default: another crowd each time")
    given = parser.parse_args()
    try:
        return asyncio.run(_forever(given.rate, given.seed))
    except ZygoteError as error:
        print(f"decnet.load: {error.message}\n  hint: {error.hint}", file=sys.stderr)
        return error.exit_code


async def _forever(rate: float, seed: int | None) -> int:
    settings = Settings.from_env()
    control = where.runtime_dir(str(FLEET), None) / "control.sock"
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    seed = random.randrange(1 << 30) if seed is None else seed
    while not stopped.is_set():
        # Anew each round: a mutation may have changed what there is.
        found = await targets(control, settings)
        if found:
            await send(plan(found, ROUND_SECONDS, rate, seed), settings.decoy_host, stopped)
        else:
            await asyncio.sleep(1)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
