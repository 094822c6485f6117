"""`reexec` to other code: newer, broken, or a reader of another state."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import zygote
from tests.support.managers import Manager, alive, managers, worker
from zygote.control.interface import Failed

Make = Callable[..., Manager]
PACKAGE = Path(zygote.__file__).parent


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


class Code:
    """A copy of the package that the manager runs, to be changed under it."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "code" / "zygote"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, file: str, old: str, new: str) -> None:
        path = self.package / file
        text = path.read_text()
        assert len(re.findall(old, text, re.M)) == 1, f"{file} has no longer one {old}"
        path.write_text(re.sub(old, new, text, flags=re.M))

    def restore(self, file: str) -> None:
        shutil.copy(PACKAGE / file, self.package / file)


async def test_reexec_to_other_versions(make: Make, tmp_path: Path) -> None:
    code = Code(tmp_path)
    manager = make(worker("web", "sleeper", "start_limit = 0"))
    manager.env = {"PYTHONPATH": str(code.package.parent)}
    await manager.start()
    web = await manager.until("web", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    version = (await manager.status()).version

    async def refusal() -> dict[str, Any]:
        with pytest.raises(Failed) as refused:
            await manager.reexec()
        assert (await manager.worker("web")).pid == web.pid, "the old one serves on"
        assert [z.pid for z in await manager.zygotes()] == [zygote.pid]
        return refused.value.parameters

    code.change("manager/app.py", r"^class App:", "class App(:")
    refused = await refusal()
    assert refused["code"] == "state-unasked"
    assert "SyntaxError" in refused["message"]
    assert "--help" in refused["hint"]
    code.restore("manager/app.py")

    code.change("manager/handover.py", r"^FORMAT = \d+", "FORMAT = 99")
    refused = await refusal()
    assert refused["code"] == "state-format"
    assert "format 1" in refused["message"] and "99" in refused["message"]
    code.restore("manager/handover.py")

    code.change("fleet/model.py", r"^FORMAT = \d+", "FORMAT = 99")
    refused = await refusal()
    assert refused["code"] == "state-unreadable"
    code.restore("fleet/model.py")

    code.change("__init__.py", rf'^__version__ = "{re.escape(version)}"', '__version__ = "99.1"')
    report = await manager.reexec()
    assert (report.before, report.version, report.pid) == (version, "99.1", manager.pid)
    assert (await manager.status()).version == "99.1"
    assert (await manager.worker("web")).pid == web.pid

    # A newer protocol: what the old zygotes say is not understood, so they are replaced.
    code.change("wire/messages.py", r"^VERSION = (\d+)", r"VERSION = 1\1")
    report = await manager.reexec()
    assert (report.zygotes, report.workers) == (0, 1)
    await manager.eventually(manager.zygotes, lambda z: z[0].state == "ready")
    assert (await manager.zygotes())[0].generation == 2
    await manager.eventually(lambda: _gone(zygote.pid), bool)
    await manager.send("web", "KILL")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert state.generation == 2


async def test_new_code_that_fails_after_the_exec_starts_as_after_a_crash(
    make: Make, tmp_path: Path
) -> None:
    code = Code(tmp_path)
    manager = make(worker("web", "sleeper"))
    manager.env = {"PYTHONPATH": str(code.package.parent)}
    await manager.start()
    web = await manager.until("web", lambda w: w.ready)
    code.change("manager/carried.py", r"^    reaper\.take_over", r"    raise RuntimeError\n\g<0>")
    with pytest.raises(ConnectionError):  # the caller is told in the only way that is left
        await manager.reexec()

    async def answers() -> bool:
        try:
            await manager.connect()
            await manager.status()
        except OSError:  # nobody listens, or one that is about to go
            return False
        return True

    await manager.eventually(answers, bool)
    state = await manager.until("web", lambda w: w.ready)
    assert (state.pid, state.adopted) == (web.pid, True)
    assert (await manager.status()).pid == manager.pid
    assert "starting as after a crash" in manager.output
    await manager.send("web", "KILL")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert state.last_end == "signalled(SIGKILL)", "it is our own child still"


async def _gone(pid: int) -> bool:
    return not alive(pid)
