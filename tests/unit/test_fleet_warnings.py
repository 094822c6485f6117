"""What a fleet file is warned of, and where its interpreter and walls come from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.fleetfile import check_text, good_fleet
from tests.unit.test_fleet_load import HEAD
from zygote.fleet.walls import Machine


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        ('memory_max = "1M"', 6, "1M is little"),
        ('memory_high = "64M"\nmemory_max = "32M"', 6, "is above memory_max (32M)"),
        ('max_private = "64M"\nmemory_max = "64M"', 6, "is not below memory_max (64M)"),
        ("overlap = true", 6, "never overlaps"),
        ('max_private = "1M"', 6, "1M is little"),
        ('watchdog = "500ms"', 6, "below one second"),
        ('watchdog = "5s"\nrestart = "no"', 7, "leaves it so"),
        ('stop_signal = "SIGSTOP"', 6, "ends no process"),
        ('user = "nobody-of-this-name"', 6, "no user 'nobody-of-this-name'"),
        ('group = "no-such-group-here"', 6, "no group"),
        ('env = { PYTHONPATH = "x" }', 6, "[zygote.floor]"),
        ('env = { LD_PRELOAD = "x" }', 6, "[zygote.floor]"),
        ('env = { NOTIFY_SOCKET = "x" }', 6, "not used"),
        ("rlimits = { nofile = [3, 64] }", 6, "too few open files"),
        ("cpu_affinity = [4000]", 6, "could not start here"),
        ("cpu_max = 4000", 6, "no limit here"),
        ('cwd = "gone"', 6, "must be there when it starts"),
        ('start_limit_interval = "1s"\nrestart_delay = "5s"', 6, "never counts"),
    ],
)
def test_fleet_warnings(tmp_path: Path, lines: str, line: int, says: str) -> None:
    fleet = good_fleet(tmp_path, HEAD + f'[worker.w]\nrun = "tool"\n{lines}\n')
    found = [warning for warning in fleet.warnings if warning.startswith(f"fleet.toml:{line}: ")]
    assert any(says in warning for warning in found), fleet.warnings


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('user = "root"', "takes root"),
        ("nice = -5", "RLIMIT_NICE"),
        ("oom_score_adj = -5", "takes root"),
    ],
)
def test_fleet_warns_of_rights_that_only_root_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, says: str
) -> None:
    text = HEAD + f'[worker.w]\nrun = "tool"\n{lines}\n'
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert good_fleet(tmp_path, text).warnings == ()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    (warning,) = good_fleet(tmp_path, text, XDG_RUNTIME_DIR="").warnings
    assert says in warning
    assert "54321" in warning


def test_fleet_warns_of_a_zygote_without_workers(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + '[zygote.idle]\n[worker.w]\nrun = "tool"\n')
    (warning,) = fleet.warnings
    assert warning.startswith("fleet.toml:4: zygote 'idle': no worker uses it")


def test_fleet_of_zygotes_only_warns_of_nothing(tmp_path: Path) -> None:
    assert good_fleet(tmp_path, HEAD).warnings == ()


def test_fleet_warns_of_a_long_socket_path(tmp_path: Path) -> None:
    long = "/" + "d" * 90
    fleet = good_fleet(tmp_path, f'[fleet]\nname = "x"\nruntime_dir = "{long}"\n')
    (warning,) = fleet.warnings
    assert warning.startswith("fleet.toml:3: ")
    assert "below the kernel's limit" in warning


def test_fleet_warns_once_of_what_all_inherit(tmp_path: Path) -> None:
    text = HEAD + '[defaults]\nrun = "tool"\nmemory_max = "1M"\n[worker.a]\n[worker.b]\n'
    (warning,) = good_fleet(tmp_path, text).warnings
    assert warning.startswith("fleet.toml:6: [defaults]: memory_max")


def test_fleet_of_another_interpreter_is_not_searched(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    text = HEAD + 'python = "./python"\npreload = ["only.there"]\n[worker.w]\nrun = "only.there"\n'
    fleet = good_fleet(tmp_path, text)
    assert fleet.zygotes["floor"].python == str(python)
    (warning,) = fleet.warnings
    assert "another interpreter" in warning


def test_fleet_own_interpreter_is_searched(tmp_path: Path) -> None:
    text = HEAD + f'python = "{sys.executable}"\npreload = ["only.there"]\n'
    _, (error,) = check_text(tmp_path, text)
    assert error.code == "no-such-module"


def test_fleet_interpreter_in_path(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + 'python = "sh"\n')
    assert fleet.zygotes["floor"].python.endswith("/sh")


WALLS = """\
[defaults]
landlock = { read = ["/srv"], connect = [1] }
credentials = { one = "/etc/one" }
[worker."t@"]
run = "app.jobs.mail"
landlock = { write = ["data/%i/"], connect = [] }
credentials = { two = "%i.key" }
user = "${NOBODY:-}"
[worker."t@eu"]
[worker.plain]
run = "tool"
seccomp = ["read"]
"""


def test_fleet_walls_are_joined_and_filled(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + WALLS)
    worker, plain = fleet.workers["t@eu"], fleet.workers["plain"]
    assert worker.landlock == {
        "read": ("/srv",), "connect": (), "write": (f"{tmp_path}/data/eu/",),
    }  # fmt: skip
    assert worker.credentials == {"one": "/etc/one", "two": f"{tmp_path}/eu.key"}
    assert worker.user is None, "a variable that is not set"
    assert plain.landlock == {"read": ("/srv",), "connect": ("1",)}
    assert plain.seccomp_filter and plain.seccomp_said.startswith("seccomp: ")
    assert not worker.seccomp_filter and not worker.seccomp_said


def test_fleet_walls_that_this_machine_has_not_are_told(tmp_path: Path) -> None:
    no = {"namespaces": "A", "landlock": "B", "ports": "C", "signals": "D", "seccomp": "E"}
    text = (
        HEAD + '[worker.w]\nrun = "tool"\nprivate_tmp = true\nlandlock = { connect = [] }\n'
        'address_families = "AF_UNIX"\n'
    )
    spec = good_fleet(tmp_path, text).workers["w"]

    def told(**answers: str) -> list[tuple[str, str]]:
        return list(Machine({**dict.fromkeys(no, ""), **answers}).why_not(spec))

    assert told() == []
    assert told(**no) == [("private_tmp", "A"), ("landlock", "B"), ("address_families", "E")]
    assert told(ports="C", signals="D") == [("landlock", "C")]
    assert told(signals="D") == [("landlock", "D")]
