"""Descriptors: sent over a real socket, listed, closed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zygote.sys import fds


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


Pair = tuple[socket.socket, socket.socket]


def test_fds_arrive_as_the_same_files_and_close_on_exec(pair: Pair) -> None:
    with open(__file__, "rb") as file:
        fds.send(pair[0], b"two", (file.fileno(), file.fileno()))
        buffer = memoryview(bytearray(16))
        got = fds.receive_into(pair[1], buffer, 4)
        try:
            assert (got.size, len(got.fds), got.whole) == (3, 2, True)
            for number in got.fds:
                assert os.path.sameopenfile(number, file.fileno())
                assert not os.get_inheritable(number)
        finally:
            fds.close(got.fds)


def test_fds_that_do_not_fit_are_told_of(pair: Pair) -> None:
    with open(__file__, "rb") as file:
        fds.send(pair[0], b"x", (file.fileno(),) * 5)
    got = fds.receive_into(pair[1], memoryview(bytearray(16)), 2)
    fds.close(got.fds)
    assert (got.whole, got.fds_lost) == (False, True)


def test_fds_packet_that_does_not_fit_is_told_of(pair: Pair) -> None:
    fds.send(pair[0], b"x" * 17)
    got = fds.receive_into(pair[1], memoryview(bytearray(16)), 2)
    assert (got.size, got.whole, got.fds_lost) == (16, False, False)


def test_fds_end_of_the_connection_is_nothing(pair: Pair) -> None:
    pair[0].close()
    assert fds.receive_into(pair[1], memoryview(bytearray(16)), 2) == (0, (), True, False)


def test_open_fds_names_what_is_open_and_not_the_listing(pair: Pair) -> None:
    listed = fds.open_fds()
    assert listed[pair[0].fileno()].startswith("socket:[")
    assert not [name for name in listed.values() if name.endswith("/fd")]


@pytest.mark.parametrize("keep", [[], [0], [0, 1, 2], [1, 5], [4, 5, 9], [2, 2]])
def test_close_others_keeps_exactly_those(keep: list[int]) -> None:
    """In a child, whose table may be emptied; it says by its exit status how it went."""
    null = os.open(os.devnull, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        try:
            for number in range(10):
                os.dup2(null, number)
            fds.close_others(keep)
            left = [number for number in range(200) if _is_open(number)]
            os._exit(0 if left == sorted(set(keep)) else 1)
        finally:
            os._exit(2)
    os.close(null)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


_CALLBACKS = """
import zygote.sys.ffi
import ctypes, os
from zygote.sys import fds
own = [n for n, target in fds.open_fds().items() if zygote.sys.ffi.is_its_own(target)]
fds.close_others([0, 1, 2])
left = [n for n in fds.open_fds() if n > 2]
assert left == own == sorted(fds.spared), (left, own, fds.spared)
assert all(n >= 200 for n in own), own
others = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
kind = ctypes.CFUNCTYPE(ctypes.c_int)
made = [kind(lambda n=n: n) for n in range(2000)]
assert sum(one() for one in made) == sum(range(2000))
print("done", len(own))
"""


def test_callbacks_of_c_work_when_all_else_is_closed() -> None:
    """Where libffi holds a descriptor of its own, it stays, out of the way of a worker's."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLBACKS], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.stdout.startswith("done"), done.stderr
