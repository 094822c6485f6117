"""Clients of a thousand decoys, as a process that ends before memory is looked at: `visitors.py N`.

Prints how many answered their protocol's client as they should; who did not is told on stderr.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import asyncssh

from decnet.decoys.catalogue import worker_name
from decnet.load import deeds
from decnet.settings import Settings

KINDS = ("ssh", "http", "ftp", "telnet", "smtp", "redis")
VISITS_AT_ONCE = 16


def decoys(count: int) -> list[str]:
    """Their workers' names, the kinds in turn."""
    return [worker_name(KINDS[n % len(KINDS)], n // len(KINDS) + 1) for n in range(count)]


async def visit(names: list[str], settings: Settings) -> int:
    """How many answered a client of their protocol."""
    room = asyncio.Semaphore(VISITS_AT_ONCE)

    async def one(number: int, name: str) -> bool:
        kind, _, rest = name.removeprefix("decoy@").partition("-")
        port = settings.decoy_port(kind, int(rest or 1))
        source = f"127.98.{number >> 8}.{number & 255 or 1}"
        async with room:
            try:
                async with asyncio.timeout(deeds.TALK_SECONDS):
                    await deeds.LOOKS[kind](settings.decoy_host, port, source, f"m{number}")
            except (OSError, EOFError, TimeoutError, asyncssh.Error) as error:
                print(f"{name} on port {port}: {error!r}", file=sys.stderr, flush=True)
                return False
            return True

    return sum(await asyncio.gather(*(one(n, name) for n, name in enumerate(names))))


if __name__ == "__main__":
    print(asyncio.run(visit(decoys(int(sys.argv[1])), Settings.from_env())))
