"""What the REST interface sees of a real manager and its workers, and does to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from decnet.bus.client import BusClient
from decnet.context import Context
from decnet.settings import Settings
from decnet.web.api import fleet
from decnet.web.api.registry import Registry
from tests.support.managers import managers, worker
from zygote.errors import Exit, ZygoteError


async def test_fleet_is_shown_and_commanded_through_the_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_env({"DECNET_STATE_DIR": str(tmp_path / "state")})
    bus = BusClient(tmp_path / "none", "api", enabled=False)
    ctx = Context("api", settings, bus, None, notifies=False)
    beats = Registry(bus)
    async with managers(tmp_path) as make:
        manager = await make(worker("one", "sleeper") + worker("two", "sleeper")).start()
        await manager.until("one", lambda w: w.state == "ready")
        await manager.until("two", lambda w: w.state == "ready")
        monkeypatch.setenv("ZYGOTE_RUNTIME_DIR", str(manager.run))
        seen = await fleet.look(beats)
        assert seen.manager == "ok"
        assert [w.name for w in seen.workers] == ["one", "two"]
        one = seen.workers[0]
        assert one.memory is not None and one.memory.private_kib and one.memory.shared_kib
        assert not one.stale, "it was only just started"
        assert [zygote.name for zygote in seen.zygotes] == ["floor"]
        assert seen.manager_memory is not None and seen.manager_memory.pss_kib
        assert await fleet.command(ctx, "one", "stop", "ann") == "inactive"
        assert (await fleet.look(beats)).workers[0].pid is None
        assert await fleet.command(ctx, "one", "start", "ann") == "ready"
        assert await fleet.command(ctx, "one", "restart", "ann") == "ready"
        with pytest.raises(ZygoteError) as none:
            await fleet.command(ctx, "three", "stop", "ann")
        assert "three" in none.value.message
        assert none.value.exit_code == Exit.NO_SUCH_WORKER
        await manager.end()
    assert "no manager" in (await fleet.look(beats)).manager
    with pytest.raises(fleet.Unmanaged):
        await fleet.command(ctx, "one", "stop", "ann")
