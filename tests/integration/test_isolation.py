"""What workers share besides memory, read from /proc; and that a class, or an exec, does not."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.managers import Manager, alive, managers, worker
from zygote.sys import procfs

Make = Callable[..., Manager]
_AT_RANDOM = 25
CLASS, EXEC = 'isolation = "class:web"', 'isolation = "exec"'


class Layout(NamedTuple):
    """What an attacker would want to know of a process.

    Attributes:
        addresses: where its stack, its heap and the C library begin.
        random: the kernel's 16 bytes that the stack canary is made of.
        seed: the hash of a word.
    """

    addresses: tuple[str, ...]
    random: bytes
    seed: str


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


async def layout_of(manager: Manager, name: str) -> Layout:
    (line, *_) = await manager.lines(f"{name}.seed")
    state = await manager.until(name, lambda w: w.ready)
    maps = Path(f"/proc/{state.pid}/maps").read_text().splitlines()
    firsts: dict[str, str] = {}
    for each in maps:
        parts = each.split()
        label = parts[5] if len(parts) > 5 else ""
        if label in ("[stack]", "[heap]") or "/libc." in label:
            firsts.setdefault(label.rpartition("/")[2], parts[0].partition("-")[0])
    assert {"[stack]", "[heap]"} < set(firsts), firsts
    auxv = Path(f"/proc/{state.pid}/auxv").read_bytes()
    (where,) = (value for key, value in struct.iter_unpack("QQ", auxv) if key == _AT_RANDOM)
    with open(f"/proc/{state.pid}/mem", "rb", buffering=0) as memory:
        random = os.pread(memory.fileno(), 16, where)
    addresses = tuple(f"{label} {firsts[label]}" for label in sorted(firsts))
    return Layout(addresses, random, line.split()[0])


@pytest.mark.skipif(
    Path("/proc/sys/kernel/randomize_va_space").read_text().strip() == "0",
    reason="this kernel puts every process at the same addresses (randomize_va_space = 0)",
)
async def test_isolation_decides_who_shares_addresses_canary_and_hash_seed(make: Make) -> None:
    fleet = '[zygote.leaf]\nparent = "floor"\n' + "".join(
        (
            worker("one", "seed_teller"),
            worker("two", "seed_teller"),
            worker("twig", "seed_teller").replace('"floor"', '"leaf"'),
            worker("web1", "seed_teller", CLASS),
            worker("web2", "seed_teller", CLASS),
            worker("webtwig", "seed_teller", CLASS).replace('"floor"', '"leaf"'),
            worker("alone", "seed_teller", EXEC),
            worker("lonely", "seed_teller", EXEC),
        )
    )
    manager = await make(fleet).start()
    seen = {w.name: await layout_of(manager, w.name) for w in await manager.workers()}
    assert seen["one"] == seen["two"] == seen["twig"], "copies of one exec are alike in all"
    assert seen["web1"] == seen["web2"] == seen["webtwig"]
    apart = [seen[name] for name in ("one", "web1", "alone", "lonely")]
    for part in ("addresses", "random", "seed"):
        values = {getattr(layout, part) for layout in apart}
        assert len(values) == len(apart), f"{part} is shared: {values}"
    states = {w.name: w for w in await manager.workers()}
    told = {name: (state.zygote, state.layout) for name, state in states.items()}
    assert told["twig"] == ("leaf", "floor.1")
    assert told["web2"] == ("floor:web", "floor:web.1")
    assert told["webtwig"] == ("leaf:web", "floor:web.1")
    assert told["alone"] == ("", "")
    assert [z.name for z in await manager.zygotes()] == ["floor", "leaf", "floor:web", "leaf:web"]


async def test_execd_worker_is_managed_as_any_other(make: Make) -> None:
    keys = (EXEC, 'title = "odd"', "nice = 7", 'env = { PYTHONHASHSEED = "1" }')
    fleet = worker("web", "seed_teller", *keys) + worker("bus", "seed_teller")
    manager = await make(fleet).start()
    (line,) = await manager.lines("web.seed")
    state = await manager.until("web", lambda w: w.ready)
    assert Path(f"/proc/{state.pid}/cmdline").read_text().startswith("odd")
    stat = procfs.read_stat(state.pid)
    assert stat and stat.ppid == manager.pid, "the manager's own child"
    assert os.getpriority(os.PRIO_PROCESS, state.pid) == 7
    assert os.getsid(state.pid) == state.pid
    assert line.split()[1] == str(state.pid), "it imported the module itself"

    async def fds() -> list[str]:
        numbers = [int(fd.name) for fd in Path(f"/proc/{state.pid}/fd").iterdir()]
        return [str(n) for n in sorted(numbers) if n < 200]  # above lies libffi's, if it has one

    await manager.eventually(fds, lambda found: found == ["0", "1", "2"])  # it may write its line
    await manager.send("web", "KILL")
    again = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert again.last_end == "signalled(SIGKILL)"
    first, second = await manager.lines("web.seed", 2)
    assert first.split()[0] == second.split()[0], "PYTHONHASHSEED of its env holds"
    (result,) = await manager.stop("web")
    assert result.ok and not alive(again.pid)


async def test_execd_worker_says_ready_and_what_it_prints_is_in_its_log(make: Make) -> None:
    fleet = worker("bus", "notifier", EXEC, 'type = "notify"')
    fleet += worker("web", "crasher", EXEC, 'restart = "no"', args=["7"])
    manager = await make(fleet).start()
    manager.touch("bus.go")
    bus = await manager.until("bus", lambda w: w.ready)
    assert bus.status == "at your service"
    web = await manager.until("web", lambda w: w.state == "failed")
    assert web.last_end == "exited(7)"
    assert "about to crash" in Path(web.log).read_text()


async def test_execd_worker_needs_no_zygote_and_outlives_the_manager(make: Make) -> None:
    manager = await make(worker("web", "sleeper", EXEC)).start()
    (zygote,) = await manager.zygotes()
    os.kill(zygote.pid, signal.SIGSTOP)
    await manager.send("web", "KILL")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    os.kill(zygote.pid, signal.SIGCONT)
    await manager.kill()
    await manager.start()
    after = await manager.worker("web")
    assert (after.pid, after.adopted, after.layout) == (state.pid, True, "")


async def test_execd_worker_whose_setup_fails_says_which_step(make: Make) -> None:
    manager = await make(worker("web", "sleeper", EXEC, 'cwd = "nowhere"')).start()
    state = await manager.until("web", lambda w: w.state == "failed")
    assert "cwd" in state.error and "make the folder" in state.hint
