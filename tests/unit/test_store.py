"""Sockets that a worker gave for its next process, and the worker's own half of that."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from zygote import sockets
from zygote.manager.store import MOST, Store


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def store(told: list[tuple[str, str]]) -> Iterator[Store]:
    store = Store(lambda event, detail: told.append((event, detail)))
    yield store
    store.clear()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def copy(sock: socket.socket) -> int:
    return os.dup(sock.fileno())


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_kept_socket_goes_out_as_a_copy_each_time(store: Store, sock: socket.socket) -> None:
    mine = copy(sock)
    store.keep("web", mine)
    for _ in range(2):
        ((role, descriptor),) = store.open_all()
        assert role == "listen:web"
        with socket.socket(fileno=descriptor) as out:
            assert out.getsockname() == sock.getsockname()
    assert is_open(mine)
    assert store.record == {"web": os.fstat(sock.fileno()).st_ino}


def test_same_name_takes_the_place_of_the_one_before(store: Store, sock: socket.socket) -> None:
    first, second = copy(sock), copy(sock)
    store.keep("web", first)
    store.keep("web", second)
    assert not is_open(first)
    assert is_open(second)
    assert len(store.open_all()) == 1


def test_dropped_and_cleared_ones_are_closed(store: Store, sock: socket.socket) -> None:
    one, two = copy(sock), copy(sock)
    store.keep("one", one)
    store.keep("two", two)
    store.drop("one")
    store.drop("unknown")
    assert not is_open(one)
    assert set(store.record) == {"two"}
    store.clear()
    assert not is_open(two)
    assert (store.record, store.open_all()) == ({}, [])


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 65, "ä", "a\nb"])
def test_bad_name_is_refused_and_closed(
    store: Store, sock: socket.socket, told: list[tuple[str, str]], name: str
) -> None:
    descriptor = copy(sock)
    store.keep(name, descriptor)
    assert not is_open(descriptor)
    assert told[0][0] == "socket-refused"
    assert not store.record


def test_what_is_no_socket_is_refused(store: Store, told: list[tuple[str, str]]) -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    store.keep("null", descriptor)
    assert not is_open(descriptor)
    assert told == [("socket-refused", "'null': it is no socket")]


def test_too_many_are_refused(
    store: Store, sock: socket.socket, told: list[tuple[str, str]]
) -> None:
    for number in range(MOST + 1):
        store.keep(f"s{number}", copy(sock))
    assert told[-1] == ("socket-refused", f"'s{MOST}': there are {MOST} already")
    store.keep("s0", copy(sock))
    assert told[-1] == ("socket-kept", "s0")


def test_sockets_are_got_back_from_the_process_that_has_them(
    store: Store, sock: socket.socket, told: list[tuple[str, str]]
) -> None:
    pidfd = os.pidfd_open(os.getpid())
    try:
        store.recover({"web": os.fstat(sock.fileno()).st_ino, "gone": 1}, os.getpid(), pidfd)
    finally:
        os.close(pidfd)
    assert told == [("socket-kept", "web"), ("socket-lost", "gone: its process has it no more")]
    assert set(store.record) == {"web"}
    ((_, descriptor),) = store.open_all()
    with socket.socket(fileno=descriptor) as out:
        assert out.getsockname() == sock.getsockname()


def test_process_that_is_gone_gives_nothing_back(store: Store, told: list[tuple[str, str]]) -> None:
    store.recover({"web": 1}, 2**22 + 1, -1)
    assert told[0][0] == "socket-lost"
    store.recover({}, 2**22 + 1, -1)
    assert len(told) == 1


def test_listener_makes_what_was_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_handed", None)
    monkeypatch.delenv("LISTEN_PID", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with sockets.listener("web", lambda: socket.create_server(("127.0.0.1", 0))) as made:
        assert made.getsockname()[1] > 0
    assert sockets.handed("web") is None
    assert sockets.close_unused() == []


def test_descriptors_of_another_process_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_handed", None)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert sockets.close_unused() == []


def test_recovery_goes_on_where_the_process_has_closed_something_meanwhile(
    store: Store, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["999999", str(sock.fileno())])
    pidfd = os.pidfd_open(os.getpid())
    try:
        store.recover({"web": os.fstat(sock.fileno()).st_ino}, os.getpid(), pidfd)
    finally:
        os.close(pidfd)
    assert set(store.record) == {"web"}


def test_recovery_takes_no_other_socket_that_has_the_number_by_now(
    store: Store, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = socket.socket()
    monkeypatch.setattr("zygote.manager.store.pidfds.getfd", lambda *_: os.dup(other.fileno()))
    store.recover({"web": os.fstat(sock.fileno()).st_ino}, os.getpid(), -1)
    other.close()
    assert store.record == {}
