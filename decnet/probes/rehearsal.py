"""Rounds in a throw-away folder that visit nobody: for a zygote's warm-up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.context import open_context
from decnet.db.engine import Database
from decnet.db.tables import Attacker, utc_now
from decnet.decoys.spool import Spool
from decnet.probes import jarm, store
from decnet.probes.prober import Prober
from decnet.probes.settings import ProbeSettings
from decnet.probes.talk import Result
from decnet.settings import Settings

ROUNDS = 4


async def rounds(folder: Path) -> None:
    """Enrol, claim, store and tell results, finish. Leaves no thread, socket or loop behind."""
    home = folder / "probe"
    settings = Settings.from_env({"DECNET_STATE_DIR": str(home), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    nobody = ProbeSettings(targets=ProbeSettings.from_env({}).targets, ports={})
    async with open_context("probe", settings, notifies=False) as ctx:
        spool = Spool(settings.spool_dir, "warm-probe", lambda: None)
        prober = Prober(ctx, nobody, spool)
        with contextlib.closing(spool):
            for number in range(ROUNDS):
                now = utc_now()
                address = f"127.0.0.{number + 1}"
                attacker = Attacker(ip=address, first_seen=now, last_seen=now)

                async def add(session: AsyncSession, attacker: Attacker = attacker) -> None:
                    session.add(attacker)

                await ctx.write(add)
                await prober.enrol()
                claim = await ctx.write(lambda s: store.claim(s, [], 30))
                assert claim is not None
                result = Result("jarm", "jarm_fingerprint", str(number), {"jarm": "0"})
                await prober.keep_results(claim, 443, [result], ["443"])
                await prober.keep_results(claim, 443, [Result("jarm", "x", "y")], ["443"])
                await ctx.write(functools.partial(store.finish, claim=claim))
                for hello in jarm.HELLOS:
                    jarm.answer(jarm.build(hello, address))
                await prober.start_due(lambda: None)
    await asyncio.sleep(0)
