"""The walls of a worker on their way to its Spawn, and back in its report."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.specs import worker_spec
from zygote.manager import credentials, walls


def test_walls_nothing_asked_nothing_sent() -> None:
    assert walls.body(worker_spec(), "/run/x", ()) is None
    assert walls.body(worker_spec(credentials={"a": "/b"}), "/run/x", ()) is None


def test_walls_paths_ports_and_what_stays_seen_in_tmp() -> None:
    landlock = {
        "read": ("-%t/a", "/tmp/kept"), "write": ("%t/bus/",), "connect": ("443", "0"),
        "bind": ("any",),
    }  # fmt: skip
    spec = worker_spec(
        landlock=landlock, private_tmp=True, cwd="/tmp/home", walls="report",
        read_only_paths=("%t/logs",),
    )  # fmt: skip
    body = walls.body(spec, "/tmp/run", ("early",))
    assert body is not None
    assert body["landlock"] == {
        "read": ["-/tmp/run/a", "/tmp/kept"], "write": ["/tmp/run/bus/"], "connect": [443, 0],
    }  # fmt: skip
    assert body["keep"] == ["/tmp/run", "/tmp/home", "/tmp/run/a", "/tmp/kept", "/tmp/run/bus/"]
    assert body["read_only"] == ["/tmp/run/logs"]
    assert (body["report"], body["gaps"]) == (True, ["early"])


def test_walls_of_the_kernel_bring_no_new_privs() -> None:
    assert not walls.needs_no_new_privs(worker_spec())
    assert walls.needs_no_new_privs(worker_spec(landlock={}))
    assert walls.needs_no_new_privs(worker_spec(seccomp_filter="AAAA"))


def test_walls_folders_below_the_runtime_folder_are_made(tmp_path: Path) -> None:
    spec = worker_spec(landlock={"write": ("%t/bus/", "%t/file", "/no/such/")})
    walls.make_folders(spec, str(tmp_path), os.getuid(), None)
    assert [path.name for path in tmp_path.iterdir()] == ["bus"]


def test_walls_report_is_cut_to_size() -> None:
    read = walls.Standing.read({"walls": ["x" * 1000] * 1000, "gaps": None})
    assert len(read.walls) < 100 and len(read.walls[0]) <= 200 and read.gaps == ()


def test_walls_folders_for_another_user_are_passable_whatever_our_umask(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("x")
    spec = worker_spec(
        landlock={"write": ("%t/bus/",)}, credentials={"word": str(tmp_path / "word")}
    )
    before = os.umask(0o077)
    try:
        walls.make_folders(spec, str(tmp_path), None, None)
        for _, descriptor in credentials.open_all(spec, str(tmp_path), None, 10):
            os.close(descriptor)
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("bus", "credentials")}
    assert modes == {"bus": 0o711, "credentials": 0o711}
    assert Path(credentials.folder(spec, str(tmp_path))).stat().st_mode & 0o777 == 0o755
