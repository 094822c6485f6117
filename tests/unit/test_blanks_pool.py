"""When blanks are made, and how many: the pool, against a zygote that is played."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from zygote.fleet.model import ZygoteSpec
from zygote.manager import blanks as pool
from zygote.manager.blanks import Blank, Blanks
from zygote.manager.children import Child
from zygote.manager.link import LinkLostError
from zygote.manager.policy import End
from zygote.wire.messages import Kind, Packet


class Played:
    """The rest of the manager, and a zygote that answers at once or when it is told to."""

    def __init__(self, wanted: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.spec = ZygoteSpec("floor", blanks=wanted)
        self.report: dict[str, Any] = {"blanks": True}
        self.pid, self.waiting, self.lost, self.errno = 1, False, False, 0
        self.useless = ""
        self.asked: list[int] = []
        self.killed: list[Child] = []
        self.told: list[str] = []
        self.hold: asyncio.Event | None = None
        self._pids = itertools.count(1000)
        self.blanks = Blanks(self, self)  # type: ignore[arg-type]

    async def request(self, packet: Packet) -> Packet:
        assert packet.kind is Kind.BLANK
        self.asked.append(len(packet.fds))
        if self.hold:
            await self.hold.wait()
        if self.lost:
            raise LinkLostError
        pids = [] if self.errno else [next(self._pids) for _ in packet.fds]
        body = json.dumps({"pids": pids, "errno": self.errno, "hint": "do less"}).encode()
        return Packet(Kind.PARKED, packet.spawn_id, body=body)

    def take_blank(self, _spec: ZygoteSpec, pid: int, _pidfd: int | None) -> Child:
        return Child(pid, -1, "blank", "floor", self.loop.create_future())

    def why_no_blanks(self) -> str:
        return self.useless

    def kill(self, child: Child) -> None:
        self.killed.append(child)

    def tell(self, _event: str, _name: str, _pid: int | None, detail: str) -> None:
        self.told.append(detail)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pool's patience, a hundredth of what it is."""
    for name in ("_SOON", "_QUIET", "_YOUNG", "_RETRY_FIRST", "_END_TIMEOUT"):
        monkeypatch.setattr(pool, name, getattr(pool, name) / 100)
    yield


def take(played: Played) -> Blank:
    taken = played.blanks.take()
    assert taken
    taken.sock.close()
    return taken


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_blanks_are_made_in_one_go_once_the_zygote_serves() -> None:
    played = Played(4)
    played.blanks.start()
    await until(lambda: len(played.blanks.ready) == 4)
    assert played.asked == [4]
    played.blanks.retire()


async def test_blanks_none_wanted_none_made() -> None:
    played = Played(0)
    played.blanks.start()
    assert played.blanks.take() is None
    await asyncio.sleep(0.05)
    assert played.asked == []
    assert played.blanks.missed == 0


async def test_blanks_of_an_older_zygote_are_not_asked_for() -> None:
    played = Played(4)
    played.report = {}
    played.blanks.start()
    assert played.blanks.take() is None
    await asyncio.sleep(0.05)
    assert played.asked == []
    assert "older version" in played.blanks.trouble


async def test_blanks_that_would_be_of_no_use_are_not_made() -> None:
    played = Played(4)
    played.useless = "to move one takes longer"
    played.blanks.start()
    assert played.blanks.take() is None
    await asyncio.sleep(0.05)
    assert played.asked == []
    assert played.blanks.trouble == "to move one takes longer"
    assert played.told == ["none: to move one takes longer"]


async def test_blanks_wait_while_a_spawn_waits_for_the_zygote() -> None:
    played = Played(2)
    played.waiting = True
    played.blanks.start()
    await asyncio.sleep(0.05)
    assert played.asked == []
    played.waiting = False
    await until(lambda: len(played.blanks.ready) == 2)
    played.blanks.retire()


async def test_blanks_are_refilled_once_half_are_gone_or_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_QUIET", 3600.0)
    played = Played(4)
    played.blanks.start()
    await until(lambda: len(played.blanks.ready) == 4)
    oldest = played.blanks.ready[0]
    assert take(played) is oldest
    await asyncio.sleep(0.05)
    assert played.asked == [4]
    take(played)
    await until(lambda: played.asked == [4, 2])
    await until(lambda: len(played.blanks.ready) == 4)
    monkeypatch.setattr(pool, "_QUIET", 0.01)
    take(played)
    await until(lambda: played.asked == [4, 2, 1])
    assert played.blanks.taken == 3
    played.blanks.retire()


async def test_blanks_spawn_that_finds_none_is_counted() -> None:
    played = Played(1)
    assert played.blanks.take() is None
    assert (played.blanks.taken, played.blanks.missed) == (0, 1)


async def test_blank_that_dies_is_replaced_and_told_of() -> None:
    played = Played(2)
    played.blanks.start()
    await until(lambda: len(played.blanks.ready) == 2)
    first, second = played.blanks.ready
    await asyncio.sleep(2 * pool._YOUNG)
    first.child.ended.set_result(End("signalled", 9))
    await until(lambda: len(played.blanks.ready) == 2 and first not in played.blanks.ready)
    assert second in played.blanks.ready
    assert "SIGKILL" in played.told[0] and "replaced" in played.told[0]
    assert first.sock.fileno() == -1
    played.blanks.retire()


async def test_blanks_that_cannot_be_made_are_tried_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = Played(2)
    played.errno = 11
    slept: list[float] = []
    later = played.blanks._later
    monkeypatch.setattr(
        played.blanks, "_later", lambda delay: (slept.append(delay), later(delay))[1]
    )
    played.blanks.start()
    await until(lambda: len(played.asked) == 4)
    waits = [delay for delay in slept if delay > pool._SOON]
    assert waits == sorted(set(waits))
    assert "EAGAIN" in played.blanks.trouble and "do less" in played.blanks.trouble
    assert len(played.told) == 1  # not once for each try
    played.errno = 0
    await until(lambda: len(played.blanks.ready) == 2)
    await until(lambda: played.blanks.trouble == "")
    played.blanks.retire()


async def test_blanks_lost_zygote_is_nobodys_fault() -> None:
    played = Played(2)
    played.lost = True
    played.blanks.start()
    await until(lambda: played.asked)
    played.blanks.retire()
    await asyncio.sleep(0.02)
    assert played.told == []


async def test_blanks_retired_are_let_go_and_the_stubborn_killed() -> None:
    played = Played(2)
    played.blanks.start()
    await until(lambda: len(played.blanks.ready) == 2)
    good, stubborn = played.blanks.ready
    played.blanks.retire()
    assert good.sock.fileno() == stubborn.sock.fileno() == -1
    good.child.ended.set_result(End("exited", 0))
    await until(lambda: played.killed == [stubborn.child])
    assert played.told == []


async def test_blanks_made_while_their_zygote_was_closed_are_let_go() -> None:
    played = Played(2)
    played.hold = asyncio.Event()
    played.blanks.start()
    await until(lambda: played.asked)
    played.blanks.retire()
    played.hold.set()
    await until(lambda: len(played.killed) == 2)
    assert played.blanks.ready == []


async def test_blanks_another_number_is_wanted() -> None:
    played = Played(4)
    played.blanks.start()
    await until(lambda: len(played.blanks.ready) == 4)
    played.blanks.adjust(1)
    assert len(played.blanks.ready) == 1
    played.blanks.adjust(3)
    await until(lambda: len(played.blanks.ready) == 3)
    played.blanks.retire()
