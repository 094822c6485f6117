"""What outlives the manager, and how a process is known again."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from zygote.manager.children import try_stat
from zygote.manager.state import StateFiles, check_format

ID = "ab" * 16
RECORD = {"worker": "web", "spawn_id": ID, "wanted": True}


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def files(tmp_path: Path, troubles: list[str]) -> StateFiles:
    (tmp_path / "state").mkdir()
    return StateFiles(tmp_path / "state", troubles.append)


def record_own_pid(files: StateFiles, starttime: int | None = None, spawn_id: str = ID) -> None:
    """Write the record that a worker of our pid would have written."""
    stat = try_stat(os.getpid())
    assert stat is not None
    record = files.open_record("web")
    os.write(record, f"{os.getpid()} {starttime or stat.starttime} {spawn_id}\n".encode())
    os.close(record)


def test_state_finds_a_live_process_with_its_age(files: StateFiles) -> None:
    assert files.write("web", RECORD) is None
    record_own_pid(files)
    # As if written at its start: what was written later is a blank's, whose life begins then.
    for path in files._folder.glob("web.pid"):
        os.utime(path, (0, 0))
    (found,) = files.read_all()
    assert (found.name, found.pid) == ("web", os.getpid())
    assert found.pidfd >= 0
    os.close(found.pidfd)
    # Not by the times of /proc/PID: it has them from whoever looked there first of late.
    assert abs(found.started_at - psutil.Process().create_time()) < 60
    assert found.started_at < time.time()


def test_state_without_a_pid_record_never_came_to_run(files: StateFiles) -> None:
    files.write("web", RECORD)
    (found,) = files.read_all()
    assert (found.pid, found.pidfd) == (0, -1)


def test_state_another_process_with_the_same_pid_is_not_ours(files: StateFiles) -> None:
    files.write("web", RECORD)
    record_own_pid(files, starttime=1)
    (found,) = files.read_all()
    assert (found.pid, found.pidfd) == (os.getpid(), -1)


def test_state_the_pid_record_counts_where_the_json_could_not_be_written(
    files: StateFiles,
) -> None:
    files.write("web", RECORD)
    record_own_pid(files, spawn_id="cd" * 16)
    (found,) = files.read_all()
    assert found.pid == os.getpid()
    os.close(found.pidfd)


def test_state_a_process_that_ended_leaves_a_blank_record(files: StateFiles) -> None:
    files.write("web", RECORD)
    record_own_pid(files)
    files.forget_pid("web")
    (found,) = files.read_all()
    assert (found.pid, found.pidfd) == (0, -1)
    record_own_pid(files)
    os.close(files.open_record("web"))
    (found,) = files.read_all()
    assert (found.pid, found.pidfd) == (0, -1)


def test_state_a_process_before_the_last_boot_is_gone(files: StateFiles) -> None:
    files.boot_id = "another boot"
    files.write("web", RECORD)
    record_own_pid(files)
    files.boot_id = "this boot"
    (found,) = files.read_all()
    assert (found.pid, found.pidfd) == (os.getpid(), -1)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 99}', "\0\0"])
def test_state_a_broken_file_is_passed_over(files: StateFiles, tmp_path: Path, text: str) -> None:
    (tmp_path / "state/web.json").write_text(text)
    assert files.read_all() == []


@pytest.mark.parametrize("length", [None, 80], ids=["other format", "cut"])
def test_state_a_broken_file_of_a_process_that_lives_is_told_of(
    files: StateFiles, tmp_path: Path, length: int | None
) -> None:
    """It would go on beside its successor. After another boot the number is somebody else's."""
    for boot in ("another boot", files.boot_id):
        files.boot_id, ours = boot, files.boot_id
        files.write("web", RECORD)
        files.boot_id = ours
        record_own_pid(files)
        file = tmp_path / "state/web.json"
        file.write_text(file.read_text().replace('"format": 1', '"format": 99')[:length])
        found = files.read_all()
        assert [each.pid for each in found] == ([] if boot == "another boot" else [os.getpid()])
    with pytest.raises(ValueError, match=r"broken|of format 99"):
        check_format(found[0].record)
    os.close(found[0].pidfd)


@pytest.mark.parametrize("text", ["", "12", "a b c", "1 2"])
def test_state_a_cut_pid_record_is_none(files: StateFiles, tmp_path: Path, text: str) -> None:
    files.write("web", RECORD)
    (tmp_path / "state/web.pid").write_text(text)
    (found,) = files.read_all()
    assert found.pid == 0


def test_state_forgotten_is_gone(files: StateFiles, tmp_path: Path) -> None:
    files.write("web", RECORD)
    record_own_pid(files)
    files.forget("web")
    files.forget("web")
    assert list((tmp_path / "state").iterdir()) == []


def test_state_trouble_is_told_once_and_taken_back(
    files: StateFiles, tmp_path: Path, troubles: list[str]
) -> None:
    folder = tmp_path / "state"
    folder.rmdir()
    assert isinstance(files.write("web", RECORD), FileNotFoundError)
    assert not files.is_known("web")
    with pytest.raises(FileNotFoundError):
        files.open_record("web")
    assert len(troubles) == 1
    assert "No such file" in troubles[0]
    folder.mkdir()
    assert files.write("web", RECORD) is None
    assert troubles[1:] == [""]


def test_state_generations_are_kept(files: StateFiles, tmp_path: Path) -> None:
    assert files.read_generations() == {}
    files.write_generations({"floor": 3})
    assert files.read_generations() == {"floor": 3}
    (tmp_path / "generations.json").write_text("nonsense")
    assert files.read_generations() == {}


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """As near as a test comes to it: no write gets anywhere (EFBIG in place of ENOSPC).

    No fixture: what pytest says of the test may go to a file as well.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_pid_record_that_cannot_be_written_stays_as_it_was(
    files: StateFiles, tmp_path: Path
) -> None:
    record_own_pid(files)
    before = (tmp_path / "state/web.pid").read_bytes()
    with full_disk():
        files.write_pid("web", 7, 8, ID)
    assert (tmp_path / "state/web.pid").read_bytes() == before


def test_pid_record_of_a_predecessor_comes_back(files: StateFiles) -> None:
    record_own_pid(files)
    files.forget_pid("web")
    assert files.recorded_pid("web") == 0
    files.write_pid("web", 7, 8, ID)
    assert files.recorded_pid("web") == 7


def test_draft_that_cannot_be_written_is_not_left(files: StateFiles, tmp_path: Path) -> None:
    with full_disk():
        assert isinstance(files.write("web", RECORD), OSError)
    assert list((tmp_path / "state").iterdir()) == []
