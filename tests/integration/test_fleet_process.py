"""`python -m zygote.fleet` as the manager runs it: JSON on stdout, nothing else, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleetfile import GOOD_HEAD, write_fleet
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet

ROOT = Path(__file__).resolve().parents[2]


def checker(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zygote.fleet", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_checker_prints_a_fleet_that_the_manager_reads(tmp_path: Path) -> None:
    text = (
        GOOD_HEAD + '[worker.web]\nrun = "app.web:main"\nmemory_max = "1M"\nenv = { A = "${A}" }\n'
    )
    write_fleet(tmp_path, text)
    done = checker("fleet.toml", cwd=tmp_path, A="ä")
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    fleet = Fleet.from_json(json.loads(done.stdout))
    assert fleet.file == str(tmp_path / "fleet.toml")
    assert fleet.workers["web"].env["A"] == "ä"
    assert len(fleet.warnings) == 1


@pytest.mark.parametrize("arguments", [("fleet.toml", "--json"), ("--json", "fleet.toml")])
def test_checker_takes_json_as_an_option(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_fleet(tmp_path, GOOD_HEAD)
    done = checker(*arguments, cwd=tmp_path)
    assert done.returncode == Exit.DONE
    assert json.loads(done.stdout)["name"] == "demo"


def test_checker_prints_errors_that_the_manager_reads(tmp_path: Path) -> None:
    write_fleet(tmp_path, GOOD_HEAD + '[worker.web]\nrun = "app.wbe"\nnice = 99\n')
    done = checker(tmp_path / "fleet.toml", cwd=Path("/"))
    assert (done.returncode, done.stderr) == (Exit.FLEET_FILE, "")
    data = json.loads(done.stdout)
    assert list(data) == ["errors"]
    errors = [ZygoteError.from_dict(each) for each in data["errors"]]
    assert [(error.code, error.place) for error in errors] == [
        ("no-such-module", "fleet.toml:5"),
        ("out-of-range", "fleet.toml:6"),
    ]
    assert all(error.hint and error.exit_code == Exit.FLEET_FILE for error in errors)


def test_checker_of_a_missing_file(tmp_path: Path) -> None:
    done = checker("gone.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (Exit.FLEET_FILE, "")
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["code"], error["errno_name"]) == ("no-fleet-file", "ENOENT")


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--yaml", "a"), ("--help",)])
def test_checker_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = checker(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "usage: python -m zygote.fleet FILE" in done.stderr


def test_checker_is_not_misled_by_modules_beside_the_file(tmp_path: Path) -> None:
    write_fleet(tmp_path, GOOD_HEAD + '[worker.web]\nrun = "json.tool"\n')
    for name in ("json", "pydantic", "tomllib", "typing"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the fleet ran')\n")
    done = checker("fleet.toml", cwd=tmp_path, PYTHONSAFEPATH="1")
    assert (done.returncode, done.stderr) == (Exit.DONE, "")


def test_checker_in_any_locale_speaks_json(tmp_path: Path) -> None:
    write_fleet(tmp_path, '[fleet]\nname = "größe"\nruntime_dir = "größe"\n')
    done = checker("fleet.toml", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == Exit.FLEET_FILE
    assert "größe" in json.loads(done.stdout)["errors"][0]["message"]


def test_checker_of_our_own_tenant(tmp_path: Path) -> None:
    done = checker(ROOT / "decnet" / "fleet.toml", cwd=tmp_path)
    assert done.returncode == Exit.DONE, done.stdout
    fleet = Fleet.from_json(json.loads(done.stdout))
    assert fleet.order[0] == "bus"
    assert fleet.workers["decoy@ssh"].args == ("ssh",)
