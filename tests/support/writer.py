"""A small real worker: counts into the database as told, through `run_worker`.

    python -m tests.support.writer MODE NAME COUNT

MODE: count (COUNT transactions, then exit), forever (until stopped), wake (a line on stdout per
wake-up), stuck (one tick that never ends), deaf (ignores `stopping`), fault (raises).
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.context import Context, WorkerError, run_worker
from decnet.db import cursors
from decnet.db.tables import Log, utc_now

MODE, NAME, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])


def say(text: object) -> None:
    print(text, flush=True)


async def one(session: AsyncSession) -> int:
    """A row and the cursor that counts it, as one transaction."""
    n = await cursors.get(session, NAME, 0) + 1
    session.add(
        Log(
            timestamp=utc_now(),
            decky=NAME,
            service="test",
            event_type="tick",
            attacker_ip="192.0.2.1",
            raw_line=f"{n}",
            fields={"p": "x" * 200},
        )
    )
    await session.flush()
    await cursors.set(session, NAME, n)
    return n


async def main(ctx: Context) -> None:
    wake = await ctx.wake("test.hint")
    ctx.health["mode"] = MODE
    ctx.ready(f"mode {MODE}")
    say("ready")
    if MODE == "count":
        for _ in range(COUNT):
            await ctx.write(one)
            ctx.progress()
    elif MODE == "forever":
        while not ctx.stopping.is_set():
            await ctx.write(one)
            ctx.progress()
            say("tick")
    elif MODE == "wake":
        while not ctx.stopping.is_set():
            say(f"woken {await wake.wait(COUNT)}")
    elif MODE == "stuck":
        ctx.progress()
        await asyncio.sleep(3600)
    elif MODE == "deaf":
        try:
            await asyncio.sleep(3600)
        finally:
            say("cleaned up")
    elif MODE == "fault":
        raise ValueError("broken on purpose")
    elif MODE == "refuse":
        raise WorkerError("port taken", hint="take another")
    say("done")


if __name__ == "__main__":
    run_worker(NAME, main)
