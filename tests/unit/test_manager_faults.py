"""What goes wrong inside the manager costs no descriptor, and leaves nobody waiting."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.control_app import SmallApp
from tests.support.specs import worker_spec
from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager import programs, slot
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.launch import Launch
from zygote.manager.reexec import put_at
from zygote.manager.reloads import Reloads
from zygote.manager.slot import Slot


def open_fds() -> set[str]:
    gc.collect()  # what earlier tests forgot to close is not closed between two looks
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.fixture
def dup_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second time on, as where no descriptor is left."""
    real, calls = os.dup, iter(range(100))

    def dup(descriptor: int) -> int:
        if next(calls):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(descriptor)

    monkeypatch.setattr(os, "dup", dup)


def test_terminal_of_a_program_is_copied_whole_or_not_at_all(dup_fails: None) -> None:
    before = open_fds()
    with pytest.raises(OSError, match="Too many open files"):
        programs._copies(0, 1, 2)
    assert open_fds() == before


def test_output_of_a_worker_is_opened_whole_or_not_at_all(dup_fails: None) -> None:
    logs = SimpleNamespace(open=lambda name: os.open(os.devnull, os.O_WRONLY))
    parts: Any = SimpleNamespace(logs=logs)
    worker: Any = None
    launch = Launch(worker, parts)
    for descriptor in launch._open_stdio(worker_spec("web")):
        os.close(descriptor)
    before = open_fds()
    with pytest.raises(OSError, match="Too many open files"):
        launch._open_stdio(worker_spec("web"))
    assert open_fds() == before


async def test_reload_whose_marker_cannot_be_removed_still_ends(tmp_path: Path) -> None:
    (tmp_path / "reload.json").mkdir()
    events = EventLog(stream=None)
    loop = asyncio.get_running_loop()
    parts: Any = SimpleNamespace(loop=loop)
    workers: Any = None
    reloads = Reloads(tmp_path, workers, parts, events)
    told: asyncio.Queue[Any] = asyncio.Queue()
    reloads._steps.append(told)

    async def run() -> None:
        pass

    roll: Any = SimpleNamespace(run=run, summary="nothing")
    await reloads._run(roll)
    assert told.get_nowait() is None, "who listens is not left waiting"
    assert reloads.under_way == ""
    assert {event.event for event in events.since(9)} == {"state-trouble", "reloaded"}


async def test_zygote_whose_handling_broke_is_baked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "_RETRY_FIRST", 0.001)
    told: list[tuple[str, str]] = []
    tried = asyncio.Event()
    faults = iter((RuntimeError("a fault of ours"), ZygoteError("no memory")))

    def next_generation(name: str) -> int:
        fault = next(faults, None)
        if fault is None:
            tried.set()
            raise ZygoteError("no memory")
        raise fault

    shop: Any = SimpleNamespace(
        loop=asyncio.get_running_loop(), next_generation=next_generation,
        tell=lambda event, name, pid, detail: told.append((event, detail)),
    )  # fmt: skip
    made = Slot(shop, ZygoteSpec("floor"), lambda name: made)
    made.keep()
    await asyncio.wait_for(tried.wait(), 20)
    made.close()
    assert [event for event, _ in told] == ["internal-error"]
    assert "a fault of ours" in told[0][1]
    assert made.error and made.error.message == "no memory"


async def test_control_on_hold_is_not_woken_by_an_earlier_want_of_descriptors(
    tmp_path: Path,
) -> None:
    control = Control(SmallApp(), tmp_path / "control.sock")
    await control.start()
    control._pause(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    control.hold()
    assert control._retry is not None
    assert control._retry.cancelled()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "control.sock"))
        control.release()
        async with asyncio.timeout(20):
            while not control.connections:
                await asyncio.sleep(0.01)
    control.close()
    await control.wait_closed()


def test_listener_that_has_its_number_already_stays_open_over_an_exec() -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        put_at(listener.fileno(), listener.fileno())
        assert os.get_inheritable(listener.fileno())
        put_at(listener.fileno(), other.fileno())
        assert os.get_inheritable(other.fileno())
        assert os.path.sameopenfile(listener.fileno(), other.fileno())
