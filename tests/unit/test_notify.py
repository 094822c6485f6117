"""Both halves of sd_notify: what a worker sends, and how the manager reads it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zygote import notify
from zygote.manager.notify import microseconds, parse


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        yield listening


def test_notify_ready_carries_its_status(listener: socket.socket) -> None:
    assert notify.ready("port 80\nand more")
    assert listener.recv(4096) == b"READY=1\nSTATUS=port 80 and more"


def test_notify_sends_each_kind(listener: socket.socket) -> None:
    assert notify.status("busy") and listener.recv(99) == b"STATUS=busy"
    assert notify.watchdog() and listener.recv(99) == b"WATCHDOG=1"
    assert notify.stopping() and listener.recv(99) == b"STOPPING=1"


def test_notify_reaches_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"zygote-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify.ready()
        assert listening.recv(99) == b"READY=1"


@pytest.mark.parametrize("address", ["", "nonsense", "/nowhere/at/all"])
def test_notify_is_quiet_where_nobody_listens(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify.ready() is False


def test_notify_does_not_wait_for_a_full_queue(listener: socket.socket) -> None:
    sent = 0
    while notify.watchdog():
        sent += 1
        assert sent < 100_000
    assert sent > 0


def test_notify_ready_waits_for_room_longer_than_for_a_listener(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was held up has a full queue: with this word lost its worker would be killed."""
    monkeypatch.setattr(notify, "_PATIENCE", 0.05)
    sent = 0
    while notify.watchdog():
        sent += 1
    read: list[bytes] = []
    later = threading.Timer(0.5, lambda: read.extend(listener.recv(99) for _ in range(sent)))
    later.start()
    assert notify.ready()
    later.join()
    assert listener.recv(99) == b"READY=1"


def test_notify_watchdog_interval_is_half_of_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert notify.watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert notify.watchdog_interval() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_interval() is None, "it is meant for another process"
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert notify.watchdog_interval() is None


def test_parse_takes_assignments_and_leaves_the_rest() -> None:
    assert parse(b"READY=1\nnonsense\n=x\nSTATUS=a=b\n") == {"READY": "1", "STATUS": "a=b"}
    assert parse(b"\xff\xfe\0") == {}


def test_parse_makes_a_status_one_tidy_line() -> None:
    assert parse(b"STATUS=\x1b[31mred\x07")["STATUS"] == "?[31mred?"
    assert len(parse(b"STATUS=" + b"x" * 4000)["STATUS"]) == 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5000000", 5.0), ("0", 0.0), ("", None), ("-1", None), ("1e9", None), ("9" * 30, None)],
)
def test_microseconds_takes_only_sane_numbers(text: str, seconds: float | None) -> None:
    assert microseconds(text) == seconds


def test_notify_ready_waits_for_a_manager_that_is_being_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
    heard: list[bytes] = []

    def listen() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "n"))
            listening.settimeout(30)
            heard.append(listening.recv(99))

    later = threading.Timer(0.2, listen)
    later.start()
    assert notify.ready()
    later.join()
    assert heard == [b"READY=1"]


def test_notify_ready_waits_no_longer_than_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify.ready(timeout=0)
    assert not notify.ready(timeout=0.2)
