"""A worker that is asked to become a mold answers at once, whatever goes wrong on its side."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from zygote.child import mold
from zygote.mold import offer
from zygote.wire.link import Link
from zygote.wire.messages import Kind, Packet

ID = b"sixteen bytes id"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    """The manager's end of the channel; the request is there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    monkeypatch.setattr(mold, "_past", mold.Past([], {}, frozenset(), time.time_ns(), os.getpid()))
    monkeypatch.setattr(mold, "_link", Link(theirs))
    monkeypatch.setattr(mold, "_why_not", lambda: "")
    manager = Link(ours)
    manager.send(Packet(Kind.BRANCH, ID))
    yield manager
    manager.close()
    assert mold._link
    mold._link.close()


def refusal(manager: Link) -> Any:
    request = manager.wait()
    assert request and (request.head.kind, request.head.spawn_id) == (Kind.SPAWN_FAILED, ID)
    return json.loads(manager.read_body(request)[0])


def test_mold_whose_output_finds_no_room_answers_so(
    asked: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stream = io.TextIOWrapper(io.BufferedWriter(full))
        stream.write("a line that is still in the buffer")
        monkeypatch.setattr(sys, "stdout", stream)
        assert mold.answer(lambda: None), "it may be asked again, when there is room"
        assert refusal(asked) == {
            "step": "mold",
            "errno": errno.ENOSPC,
            "detail": "its output cannot be written: [Errno 28] No space left on device",
            "hint": "",
        }
        with pytest.raises(OSError, match="No space"):
            stream.close()


def test_mold_that_cannot_look_at_itself_answers_so(
    asked: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor() -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(mold, "_why_not", no_descriptor)
    assert mold.answer(lambda: None)
    assert refusal(asked)["errno"] == errno.EMFILE


def test_mold_is_not_kept_from_it_by_a_stream_that_is_closed(
    asked: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)

    class Fork:
        @staticmethod
        def spawn_path() -> Any:
            raise ValueError("it came as far as that")

    monkeypatch.setitem(sys.modules, "zygote.forkserver.__main__", Fork)  # type: ignore[arg-type]
    assert mold.answer(lambda: None)
    assert "as far as that" in refusal(asked)["detail"]


async def test_mold_whose_quiet_function_raises_answers_so(asked: Link) -> None:
    def quiet() -> bool:
        raise KeyError("no key")

    loop = asyncio.get_running_loop()
    assert offer(quiet=quiet)
    try:
        detail = (await asyncio.to_thread(refusal, asked))["detail"]
        assert detail == "its quiet function raised KeyError: 'no key'"
    finally:
        loop.remove_reader(mold.fileno())
