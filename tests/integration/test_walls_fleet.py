"""Walls by the fleet file: what status says of them, the control socket's, and credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.children import memory
from tests.support.managers import Manager, managers, worker
from zygote.sys import caps, landlock

Make = Callable[..., Manager]
LANDLOCK = landlock.abi()
SECRET = "mellon-3141592653589793"


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


async def test_walls_stand_and_are_told_even_after_the_manager(make: Make, tmp_path: Path) -> None:
    keys = (
        "capabilities = []", 'seccomp = ["@system-service"]', 'address_families = "AF_UNIX"',
        'walls = "report"', f'landlock = {{ write = ["{tmp_path}"] }}',
        'user = "no-such-user-at-all"',
    )  # fmt: skip
    manager = await make(worker("shut", "sleeper", *keys) + worker("free", "sleeper")).start()
    state = await manager.until("shut", lambda w: w.ready)
    free = await manager.until("free", lambda w: w.ready)
    assert free.walls == free.gaps == []
    assert state.walls[:2] == ["capabilities: none", "no new privileges"]
    assert any(wall.startswith("seccomp: ") and "AF_UNIX" in wall for wall in state.walls)
    assert state.gaps[0] == "user: no user 'no-such-user-at-all' on this machine"
    if LANDLOCK:
        assert f"landlock (ABI {LANDLOCK})" in state.walls
    status = Path(f"/proc/{state.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapBnd:\t0000000000000000" in status or not caps.read().permitted
    events = await manager.events()
    assert any(each.event == "wall-missing" and each.subject == "shut" for each in events)
    await manager.kill()
    await manager.start()
    again = await manager.until("shut", lambda w: w.adopted)
    assert (again.walls, again.gaps) == (state.walls, state.gaps)


async def test_walls_that_are_required_end_the_start(make: Make) -> None:
    keys = ('read_only_paths = ["/no/such"]', "autostart = false")
    manager = await make(worker("shut", "sleeper", *keys)).start()
    (result,) = await manager.spawn("shut")
    assert not result.ok
    assert result.step == "namespaces"
    assert "read_only_paths" in result.hint or "root" in result.hint


@pytest.mark.parametrize(
    ("key", "list_says", "stop_says"),
    [
        ("all", "done", "done"),
        ("read", "done", "not-allowed"),
        ("none", "not-allowed", "not-allowed"),
    ],
)
async def test_control_of_a_worker(make: Make, key: str, list_says: str, stop_says: str) -> None:
    text = worker("in", "insider", f'control = "{key}"') + worker(
        "other", "sleeper", 'control = "none"'
    )
    manager = await make(text).start()
    lines = await manager.lines("in.asked", 4)
    said = dict(line.split(" ", 1) for line in lines)
    assert (said["List"], said["Stop"]) == (list_says, stop_says)
    assert said["Run"] == stop_says
    assert key == "all" or not (manager.folder / "ran").exists()
    assert said["orphan"] == "not-allowed", "it leads to the manager, and might be anybody's"
    # We, from outside, may as ever.
    await manager.until("other", lambda w: w.ready)


async def test_credentials_reach_their_worker_alone(make: Make, tmp_path: Path) -> None:
    shut = ("capabilities = []", f'landlock = {{ write = ["{tmp_path}"] }}')
    text = worker("in@", "keeper") + worker(
        "in@1", "keeper", 'credentials = { key = "key.txt", second = "%t/key2" }',
        "capabilities = []",
    ) + worker("thief", "thief", *shut)  # fmt: skip
    manager = make(text)
    key = manager.folder / "key.txt"
    key.write_text(SECRET)
    key.chmod(0o600)
    manager.run.mkdir(mode=0o711)
    (manager.run / "key2").write_text("two")
    await manager.start()
    assert await manager.lines("in@1.has", 3) == [f"key {SECRET}", "second two", "exec False"]
    state = await manager.worker("in@1")
    for pid in (manager.pid, *[z.pid for z in await manager.zygotes()]):
        assert SECRET.encode() not in memory(pid), "neither the manager nor a zygote has it"
    assert SECRET.encode() in memory(state.pid), "as we can see"
    manager.touch("thief.go", f"in@1 {state.pid}")
    stolen = await manager.lines("thief.stole", 4)
    if LANDLOCK:
        assert {line.partition(":")[0] for line in stolen} == {"no"}, stolen
    assert SECRET not in stolen[0], "by name it comes to a descriptor of its own"
    # A new value holds from the next start on.
    key.write_text("new")
    (manager.folder / "in@1.has").unlink()
    await manager.restart("in@1")
    assert (await manager.lines("in@1.has", 3))[0] == "key new"


async def test_credential_that_is_missing_is_told(make: Make) -> None:
    text = worker("in", "keeper", 'credentials = { key = "no.txt" }', "autostart = false")
    manager = await make(text).start()
    (result,) = await manager.spawn("in")
    assert (result.ok, result.code, result.step) == (False, "credential", "credentials")
    assert f"{manager.folder}/no.txt: No such file" in result.error
