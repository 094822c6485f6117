"""decnet as a service: whose settings a command takes, and what becomes of secrets in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from decnet.cli.app import tenant
from decnet.run import installed
from decnet.run.stash import withhold

SECRETS = {
    "DECNET_JWT_SECRET": "j" * 40,
    "DECNET_DB_URL": "postgresql://ann:hush@db/decnet",
    "DECNET_API_PORT": "9000",
}


def test_installed_settings_are_read_as_systemd_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "decnet.env"
    file.write_text("# ours\n;\nDECNET_A=1\n DECNET_B = \"two words\" \nHOME=/x\nDECNET_C='3'\n\n")
    found = installed.read_file(file)
    assert found == {"DECNET_A": "1", "DECNET_B": "two words", "DECNET_C": "3"}
    assert installed.read_file(tmp_path / "none") == {}


def test_installed_settings_are_for_root_s_commands_that_name_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installed, "is_installed", lambda: True)
    for uid, given, taken in (
        (0, {}, True),
        (0, {"DECNET_STATE_DIR": "/srv"}, False),
        (0, {"ZYGOTE_RUNTIME_DIR": "/run/x"}, False),
        (1000, {}, False),
    ):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        env = dict(given)
        installed.adopt(env)
        assert (env.get("DECNET_STATE_DIR") == "/var/lib/decnet") == taken, (uid, given)
    monkeypatch.setattr(installed, "is_installed", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    env = {}
    installed.adopt(env)
    assert env == {}


def test_installed_is_told_by_either_kind_of_units(tmp_path: Path) -> None:
    assert not installed.is_installed((str(tmp_path),))
    (tmp_path / "decnet.target").touch()
    assert installed.is_installed((str(tmp_path),))


def test_withhold_only_takes_secrets_away() -> None:
    env = dict(SECRETS)
    withhold(env)
    assert env == {"DECNET_DB_URL": "postgresql://ann@db/decnet", "DECNET_API_PORT": "9000"}


def test_tenant_has_the_fleet_file_read_as_the_service_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "decnet.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    monkeypatch.setattr(installed, "settings_file", lambda name: file)
    monkeypatch.setenv("DECNET_STATE_DIR", "/home/somebody")
    found = tenant("trap")
    environ = found["environ"]
    assert environ["DECNET_STATE_DIR"] == "/var/lib/trap"
    assert environ["DECNET_WALL_DB"] == "/var/lib/trap/db"
    assert environ["DECNET_WALL_JWT"] == "/var/lib/trap/given/jwt-secret"
    assert environ["DECNET_DB_PASSWORD_FILE"] == "/var/lib/trap/given/db-password"
    assert "hush" not in str(found) and "j" * 40 not in str(found)


@pytest.mark.parametrize("module", ["zygote.manager", "zygote.service.exec"])
def test_service_becomes_the_module_without_secrets(tmp_path: Path, module: str) -> None:
    """The module is one that tells what it finds; the name of the real one decides what is kept."""
    package, _, name = module.rpartition(".")
    folder = tmp_path / package.replace(".", "/")
    folder.mkdir(parents=True)
    for each in (folder, *folder.parents):
        if each.is_relative_to(tmp_path) and each != tmp_path:
            (each / "__init__.py").touch()
    tell = (
        "import json, os, sys\nprint(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]))\n"
    )
    (folder / f"{name}.py").write_text(tell)
    code = (
        "import os, runpy, sys\nreal = os.execve\n"
        "def execve(path, words, env):\n"
        f"    real(path, words, {{**env, 'PYTHONPATH': {str(tmp_path)!r}}})\n"
        "os.execve = execve\n"
        "runpy.run_module('decnet.run.service', run_name='__main__', alter_sys=True)\n"
    )
    env = {"PATH": os.environ["PATH"], "DECNET_STATE_DIR": str(tmp_path / "state"), **SECRETS}
    with subprocess.Popen(
        [sys.executable, "-c", code, module, "--fleet", "f"], env=env, stdout=subprocess.PIPE
    ) as process:
        out, _ = process.communicate(timeout=60)
    pid, words, seen = json.loads(out)
    assert (pid, words) == (process.pid, ["--fleet", "f"])
    assert "DECNET_JWT_SECRET" not in seen
    assert seen["DECNET_DB_URL"] == "postgresql://ann@db/decnet"
    kept = module == "zygote.manager"
    assert (tmp_path / "state" / "given" / "db-password").exists() == kept
    assert (seen.get("DECNET_DB_PASSWORD_FILE", "") != "") == kept
