"""The whole fleet under attack while every worker is killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path

import pytest

from decnet.load.audit import audited
from decnet.load.crowd import plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready
from decnet.run.manager import Manager, running
from decnet.run.ports import free_ports
from decnet.run.prepare import prepare
from decnet.settings import Settings
from decnet.workers import WORKERS
from tests.support.children import memory
from zygote.errors import ZygoteError
from zygote.inspect import running as running_workers

SEED = 11
SECONDS, RATE = 14.0, 6.0


async def kill_all_of_them(manager: Manager, chance: random.Random) -> list[str]:
    """Each worker once, in a random order at random instants; gives those that were hit."""
    client = await manager.client()
    names = [w.name for w in await client.workers() if w.autostart]
    names = [n for n in names if n in WORKERS] + chance.sample(
        [n for n in names if n not in WORKERS], 8
    )
    chance.shuffle(names)
    hit = []
    for name in names:
        await asyncio.sleep(chance.uniform(0, 2 * SECONDS / len(names) * 0.9))
        async with asyncio.timeout(60):
            while name not in hit:
                try:
                    await client.kill([name], "SIGKILL")
                    hit.append(name)
                except ZygoteError:  # between two lives
                    await asyncio.sleep(0.05)
    return hit


async def nobody_has_the_secrets(manager: Manager, settings: Settings) -> None:
    """Neither manager nor zygotes, nor a worker whose they are not; the API has its own."""
    client = await manager.client()
    pids = {z.name: z.pid for z in await client.zygotes()} | {"manager": manager.process.pid}
    workers = {w.name: w.pid for w in await client.workers()}
    pids |= {name: workers[name] for name in ("bus", "web", "decoy@ssh", "profiler")}
    key = (settings.state_dir / "ship" / "master" / "worker.key").read_bytes().splitlines()[1]
    secrets = {settings.jwt_secret.encode(), settings.admin_password.encode(), key}
    for name, pid in pids.items():
        assert pid, name
        found = await asyncio.to_thread(memory, pid)
        assert not [secret for secret in secrets if secret in found], name
    for _ in range(20):  # its memory is read while it works: what is on the move may be missed
        [api] = [w for w in await client.workers() if w.name == "api"]
        own = await asyncio.to_thread(memory, api.pid or 0) if api.pid else b""
        if settings.jwt_secret.encode() in own:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the API has no secret that we can see")


@pytest.mark.timeout(400)
async def test_every_worker_is_killed_under_load_and_the_counts_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, runtime = tmp_path / "state", tmp_path / "run"
    for name, value in {
        "DECNET_STATE_DIR": str(state),
        "ZYGOTE_RUNTIME_DIR": str(runtime),
        **free_ports(),
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    await asyncio.to_thread(prepare)
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    async with running(
        FLEET, runtime, dict(os.environ), tmp_path / "manager.log", lambda line: None
    ) as manager:
        await all_ready(manager, asyncio.Event(), lambda line: None)
        await nobody_has_the_secrets(manager, settings)
        async with audited(settings) as audit:
            steps = plan(await targets(manager.socket, settings), SECONDS, RATE, SEED)
            sending = asyncio.create_task(send(steps, settings.decoy_host, asyncio.Event()))
            hit = await kill_all_of_them(manager, chance)
            outcome = await audit.settled(await sending, 150)
        assert set(hit) >= set(WORKERS) & {w.name for w in await (await manager.client()).workers()}
        assert outcome.ok, outcome
        assert outcome.sent > SECONDS * RATE / 3, outcome
        # All are back, each once.
        async with asyncio.timeout(60):
            while not all(w.ready for w in await (await manager.client()).workers() if w.autostart):
                await asyncio.sleep(0.2)
        assert audit.watcher.repeated == 0
        # What several of them need is in their floors, and not imported by each for itself.
        late = await asyncio.to_thread(running_workers.look, manager.socket, [], dict)
        assert {proposal.zygote for proposal in late} == {"floor", "decoy", "packet"}
        assert not [(each.zygote, each.added) for each in late if each.added]
    shutil.rmtree(state)
