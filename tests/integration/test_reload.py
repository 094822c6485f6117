"""`reload`: new code takes over in order, without a gap, and goes back where it must."""

from __future__ import annotations

from pathlib import Path

from tests.support.managers import alive
from tests.support.rolls import roller, rolling

HEAD = ('min_ready = "50ms"',)
FLEET = (
    roller("first", "overlap = true")
    + roller("second", "overlap = true", 'after = ["first"]')
    + roller("third", 'after = ["second"]')
)


async def test_new_code_takes_over_in_order(tmp_path: Path) -> None:
    async with rolling(tmp_path, FLEET, head=HEAD) as rolls:
        manager = rolls.manager
        await manager.start()
        await manager.until("third", lambda w: w.ready)
        before = await rolls.pids()
        (floor,) = await manager.zygotes()
        assert [step.step for step in await rolls.roll()] == ["done"]
        assert await rolls.pids() == before
        rolls.write()
        steps = await rolls.roll()
        assert [(s.step, s.subject) for s in steps] == [
            ("baking", "zygote.floor"), ("baked", "zygote.floor"),
            ("moving", "first"), ("moved", "first"),
            ("moving", "second"), ("moved", "second"),
            ("moving", "third"), ("moved", "third"),
            ("done", "manager"),
        ]  # fmt: skip
        assert [s.detail.partition(", ")[2] for s in steps if s.step == "moving"] == [
            "started beside it", "started beside it", "stopped first",
        ]  # fmt: skip
        assert (steps[-1].zygotes, steps[-1].workers) == (1, 3)
        assert await rolls.versions() == dict.fromkeys(("first", "second", "third"), 2)
        (after,) = await manager.zygotes()
        assert after.generation == floor.generation + 1
        assert (after.outdated, after.next_pid) == ("", None)
        assert not any(alive(pid) for pid in before.values())

        async def old_zygote_lives() -> bool:
            return alive(floor.pid)

        await manager.eventually(old_zygote_lives, lambda lives: not lives)
        workers = await manager.workers()
        assert all(w.generation == after.generation and not w.outdated for w in workers)
        assert all((w.restarts, w.recycles) == (0, 0) for w in workers)
