"""The runtime folder's checks, each with the real thing in its way."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounts import fill, make_read_only, tmpfs
from zygote.errors import ZygoteError
from zygote.manager import runtime

HOLD = """
import sys; from zygote.manager import runtime
runtime.prepare(sys.argv[1]); print("held", flush=True); sys.stdin.read()
"""


def refused(path: Path) -> ZygoteError:
    with pytest.raises(ZygoteError) as caught:
        runtime.prepare(path)
    assert caught.value.hint, "every error names a way out"
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_runtime_dir_is_made_with_its_parents_and_locked(folder: Path) -> None:
    held = runtime.prepare(folder / "deep" / "down")
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o711
    assert stat.S_IMODE(held.state_dir.stat().st_mode) == 0o700
    assert (held.path / "manager.lock").read_text() == f"{os.getpid()}\n"
    held.close()
    runtime.prepare(held.path).close()


def test_runtime_dir_socket_path_too_long(folder: Path) -> None:
    error = refused(folder / ("x" * 120))
    assert error.code == "socket-path-too-long" and "107" in error.message
    assert not folder.exists()


def test_runtime_dir_longest_path_that_fits_can_be_bound(tmp_path: Path) -> None:
    room = runtime.SOCKET_PATH_MAX - len(os.fsencode(tmp_path)) - len("//control.sock")
    if room < 1:
        pytest.skip("the test's own folder is too deep for a socket")
    held = runtime.prepare(tmp_path / ("y" * room))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(held.control_socket))
    held.close()
    assert not held.control_socket.exists()


def test_runtime_dir_second_manager_is_told_the_pid_of_the_first(folder: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout and first.stdin
    assert first.stdout.readline() == "held\n"
    error = refused(folder)
    assert error.code == "second-manager" and f"pid {first.pid}" in error.message
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    runtime.prepare(folder).close()


@pytest.mark.parametrize("name,kind", runtime._SOCKETS)
def test_runtime_dir_stale_socket_is_removed(
    folder: Path, name: str, kind: socket.SocketKind
) -> None:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(os.fspath(folder / name))
    assert (folder / name).exists()
    held = runtime.prepare(folder)
    assert not (folder / name).exists()
    held.close()


@pytest.mark.parametrize("name,kind", runtime._SOCKETS)
def test_runtime_dir_live_socket_of_another_is_left_alone(
    folder: Path, name: str, kind: socket.SocketKind
) -> None:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, kind) as live:
        live.bind(os.fspath(folder / name))
        if kind == socket.SOCK_STREAM:
            live.listen(1)
        assert refused(folder).code == "socket-in-use"
        assert (folder / name).exists()
    runtime.prepare(folder).close()  # the lock was given up by the refused one


def test_runtime_dir_listener_with_full_backlog_does_not_stop_us(folder: Path) -> None:
    folder.mkdir()
    path = os.fspath(folder / "control.sock")
    with socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_UNIX) as first:
        mute.bind(path)
        mute.listen(0)
        first.connect(path)
        assert refused(folder).code == "socket-in-use"


def test_runtime_dir_file_in_the_socket_s_place(folder: Path) -> None:
    folder.mkdir()
    (folder / "control.sock").write_text("precious")
    assert refused(folder).code == "not-a-socket"
    assert (folder / "control.sock").read_text() == "precious"


def test_runtime_dir_symlink_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    folder.symlink_to(tmp_path / "real")
    error = refused(folder)
    assert error.code == "runtime-dir-link" and str(tmp_path / "real") in error.hint


def test_runtime_dir_symlinked_lock_is_refused_and_its_goal_untouched(
    folder: Path, tmp_path: Path
) -> None:
    folder.mkdir()
    (tmp_path / "goal").write_text("precious")
    (folder / "manager.lock").symlink_to(tmp_path / "goal")
    assert refused(folder).errno == errno.ELOOP
    assert (tmp_path / "goal").read_text() == "precious"


def test_runtime_dir_symlinked_state_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "goal").mkdir()
    (folder / "state").symlink_to(tmp_path / "goal")
    assert refused(folder).code == "runtime-dir-link"


def test_runtime_dir_is_a_file(folder: Path) -> None:
    folder.write_text("")
    assert refused(folder).errno == errno.ENOTDIR
    assert refused(folder / "below").errno in (errno.ENOTDIR, errno.EEXIST)


def test_runtime_dir_open_to_others_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    assert refused(folder).code == "runtime-dir-open"
    folder.chmod(0o755)
    runtime.prepare(folder).close()


def test_runtime_dir_parent_open_to_others_is_refused_unless_sticky(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    assert refused(folder / "mine").code == "runtime-dir-open"
    folder.chmod(0o1777)
    runtime.prepare(folder / "mine").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_runtime_dir_of_another_owner_is_refused(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    error = refused(folder)
    assert error.code == "runtime-dir-owner" and "12345" in error.message


def test_runtime_dir_not_writable(folder: Path) -> None:
    """As root by a read-only file system, else by a folder without w."""
    if os.geteuid() == 0:
        with tmpfs(folder, "1m"):
            make_read_only(folder)
            assert refused(folder).errno == errno.EROFS
            assert refused(folder / "below").errno == errno.EROFS
        return
    folder.mkdir(mode=0o500)
    assert refused(folder).errno == errno.EACCES
    assert refused(folder / "below").errno == errno.EACCES


def test_runtime_dir_disk_full(folder: Path) -> None:
    with tmpfs(folder, "64k"):
        fill(folder)
        error = refused(folder)
        assert error.code == "disk-full" and error.errno == errno.ENOSPC


def test_log_dir_is_made_and_checked(folder: Path, tmp_path: Path) -> None:
    made = runtime.prepare_logs(folder / "logs")
    assert stat.S_IMODE(made.stat().st_mode) == 0o750
    made.rmdir()
    (tmp_path / "elsewhere").mkdir()
    made.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZygoteError) as caught:
        runtime.prepare_logs(made)
    assert caught.value.code == "runtime-dir-link"
