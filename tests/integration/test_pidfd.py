"""pidfds on real processes; the exit status as seen by one who is not the parent."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterator

import pytest

from zygote.sys import pidfd


def start(code: str, *, setpgroup: int | None = None) -> int:
    arguments = [sys.executable, "-S", "-c", code]
    if setpgroup is None:
        return os.posix_spawn(sys.executable, arguments, os.environ)
    return os.posix_spawn(sys.executable, arguments, os.environ, setpgroup=setpgroup)


@pytest.fixture
def sleeper() -> Iterator[tuple[int, int]]:
    pid = start("import signal; signal.pause()", setpgroup=0)
    fd = pidfd.pidfd_open(pid)
    yield pid, fd
    try:
        pidfd.send_signal(fd, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    os.close(fd)


def wait_readable(fd: int) -> None:
    assert select.select([fd], [], [], 30)[0], "the process did not end"


def test_pidfd_wait_gives_exit_code_once() -> None:
    pid = start("raise SystemExit(7)")
    fd = pidfd.pidfd_open(pid)
    wait_readable(fd)
    assert os.waitstatus_to_exitcode(pidfd.wait_nowait(fd) or 0) == 7
    with pytest.raises(ChildProcessError):
        pidfd.wait_nowait(fd)
    os.close(fd)


def test_pidfd_wait_gives_signal(sleeper: tuple[int, int]) -> None:
    _, fd = sleeper
    assert pidfd.wait_nowait(fd) is None
    pidfd.send_signal(fd, signal.SIGTERM)
    wait_readable(fd)
    status = pidfd.wait_nowait(fd)
    assert status is not None and os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def test_pidfd_signal_to_a_reaped_process_is_esrch() -> None:
    fd = pidfd.pidfd_open(pid := start("pass"))
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        pidfd.send_signal(fd, signal.SIGTERM)
    os.close(fd)


def test_pidfd_signal_reaches_the_group_or_says_einval(sleeper: tuple[int, int]) -> None:
    leader, fd = sleeper
    member = start("import signal; signal.pause()", setpgroup=leader)
    member_fd = pidfd.pidfd_open(member)
    try:
        pidfd.send_signal(fd, signal.SIGTERM, group=True)
    except OSError as error:
        assert error.errno == errno.EINVAL
        os.killpg(leader, signal.SIGTERM)
    wait_readable(member_fd)
    assert os.waitstatus_to_exitcode(os.waitpid(member, 0)[1]) == -signal.SIGTERM
    os.close(member_fd)


def test_pidfd_info_names_the_process(sleeper: tuple[int, int]) -> None:
    pid, fd = sleeper
    try:
        info = pidfd.read_info(fd)
    except OSError as error:
        assert error.errno in (errno.ENOTTY, errno.EINVAL)
        return
    assert (info.pid, info.ppid, info.status) == (pid, os.getpid(), None)


def test_pidfd_exit_status_is_told_to_a_non_parent() -> None:
    """A bystander opens a pidfd, the parent reaps, the bystander asks."""
    child = start("import sys; sys.stdin.read(); raise SystemExit(9)")
    fd = pidfd.pidfd_open(child)
    os.kill(child, signal.SIGKILL)
    wait_readable(fd)
    assert pidfd.try_exit_status(fd) is None, "a zombie's status is the parent's alone"
    ready, done = os.pipe()
    code = (
        "import os, sys; from zygote.sys.pidfd import try_exit_status\n"
        f"os.read({ready}, 1); status = try_exit_status({fd})\n"
        "sys.exit(99 if status is None else -os.waitstatus_to_exitcode(status))"
    )
    os.set_inheritable(ready, True)
    os.set_inheritable(fd, True)
    bystander = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    os.waitpid(child, 0)
    os.write(done, b"x")
    answer = os.waitstatus_to_exitcode(os.waitpid(bystander, 0)[1])
    try:
        pidfd.read_info(fd)
        known = True
    except OSError:
        known = False
    assert answer == (signal.SIGKILL if known else 99)
    for number in (fd, ready, done):
        os.close(number)
