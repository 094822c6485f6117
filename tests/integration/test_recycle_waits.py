"""A worker beyond its budget is not taken away while its zygote could not make another.

Found by `benchmarks/chaos.py`: of a zygote that was killed the last worker left has the whole floor
as its own, was beyond `max_private` at once, and was stopped while the new zygote still baked.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tests.support.managers import TINY, managers

GATE = """
import os, time
from pathlib import Path

def warm():
    while Path("closed").exists():
        time.sleep(0.02)
"""
FLEET = f"""
[zygote.gated]
preload = ["tiny"]
path = ["{TINY}", "."]
warm = ["gate:warm"]
[worker.leaker]
zygote = "gated"
run = "tiny:hoarder"
type = "notify"
max_private = "24M"
recycle_grace = "100ms"
stable_after = "0s"
"""


async def test_recycling_waits_until_the_zygote_serves(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(FLEET)
        (manager.folder / "gate.py").write_text(GATE)
        await manager.start()
        born = await manager.until("leaker", lambda w: w.ready and w.private)
        manager.touch("closed")
        zygotes = {zygote.name: zygote for zygote in await manager.zygotes()}
        os.kill(zygotes["gated"].pid, signal.SIGKILL)
        manager.touch("leaker.more")

        def waits(found: list[Any]) -> bool:
            return any("not before zygote 'gated' is ready" in each.detail for each in found)

        await manager.eventually(manager.events, waits)
        still = await manager.worker("leaker")
        assert (still.pid, still.recycles, still.ready) == (born.pid, 0, True)
        (manager.folder / "closed").unlink()
        new = await manager.until("leaker", lambda w: w.recycles == 1 and w.ready)
        assert new.pid != born.pid and new.restarts == 0
