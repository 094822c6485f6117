"""The unit files: what the installer makes of a fleet, and that it touches nobody else's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet, Run, WorkerSpec, ZygoteSpec
from zygote.install import perworker, place, plan, reach, units
from zygote.service.serve import find

ROOT = Path(__file__).resolve().parents[2]


def fleet(*workers: WorkerSpec, **keys: str) -> Fleet:
    named = {worker.name: worker for worker in workers}
    zygotes = {
        "floor": ZygoteSpec("floor", preload=("a",), warm=("a:w",)),
        "packet": ZygoteSpec("packet", preload=("b",), parent="floor"),
    }
    return Fleet("shop", "/srv/100%/fleet.toml", "", zygotes, named, {}, tuple(named), **keys)


def worker(name: str = "web", **keys: object) -> WorkerSpec:
    return WorkerSpec(name, "floor", Run("module", "web"), cwd="/srv", **keys)  # type: ignore[arg-type]


def made(*workers: WorkerSpec, systemd: int = 252, **keys: str) -> plan.Plan:
    return plan.make(fleet(*workers, **keys), systemd=systemd)


def test_units_in_the_repository_are_what_the_installer_makes() -> None:
    script = "import sys; sys.path.insert(0, 'systemd'); import render, json;"
    done = subprocess.run(
        [sys.executable, "-c", f"{script} print(json.dumps(render.render()))"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    import json

    rendered: dict[str, str] = json.loads(done.stdout)
    shipped = {
        str(path.relative_to(ROOT / "systemd")): path.read_text()
        for path in (ROOT / "systemd").rglob("*")
        if path.suffix != ".py" and "__pycache__" not in path.parts and path.is_file()
    }
    assert shipped == rendered, "run: .venv/bin/python systemd/render.py"


def test_units_percent_and_dollar_of_paths_are_no_specifiers() -> None:
    text = units.service_unit(made(worker()))
    assert "--fleet /srv/100%%/fleet.toml" in text and " %n\n" in text


def test_units_subgroup_only_where_systemd_knows_it() -> None:
    assert "DelegateSubgroup" not in units.service_unit(made(worker()))
    assert "DelegateSubgroup=manager\n" in units.service_unit(made(worker(), systemd=254))


def test_units_rights_follow_the_fleet_file() -> None:
    plain = units.service_unit(made(worker(capabilities=())))
    assert "CAP_NET_RAW" not in plain and "CAP_SYS_ADMIN" not in plain
    assert "@mount" not in plain and "AF_PACKET" not in plain
    assert "SystemCallFilter=landlock_create_ruleset " in plain, "workers may shut themselves in"
    more = units.service_unit(made(worker(capabilities=("CAP_NET_RAW",), private_tmp=True)))
    assert "CAP_NET_RAW" in more and "CAP_SYS_ADMIN" in more and "AF_PACKET" in more
    assert "@mount" in more


def test_units_start_by_the_tenant_s_way_with_an_operator_s_settings_last() -> None:
    tenant = plan.Tenant(env={"A": "b"}, settings="/etc/shop/env", starter=("-m", "shop.start"))
    text = units.service_unit(plan.make(fleet(worker()), systemd=252, tenant=tenant))
    assert "Environment=A=b\nEnvironmentFile=-/etc/shop/env\n" in text
    assert f"ExecStart={sys.executable} -P -m shop.start zygote.manager --fleet " in text
    assert "--runtime-dir /run/zygote/shop reload\n" in text


def test_units_account_of_a_zygote_is_made() -> None:
    like = fleet(worker())
    zygotes = {"floor": replace(like.zygotes["floor"], user="shop-floor")}
    made_of = plan.make(replace(like, zygotes=zygotes), systemd=252)
    assert "u shop-floor -" in units.sysusers(made_of)


def test_units_python_that_a_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "closed" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.touch()
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    assert tmp_path / "closed" in reach.closed(python)
    with pytest.raises(ZygoteError, match="user 'shop-web' of the fleet file cannot run"):
        reach.check(fleet(worker(user="shop-web")), str(python))
    reach.check(fleet(worker(), worker("root", user="root")), str(python))


def test_units_accounts_of_the_file_are_made() -> None:
    text = units.sysusers(made(worker(user="shop-web", group="shop-web"), operators="shop"))
    assert "g shop -\n" in text and "g shop-web -\n" in text
    assert 'u shop-web -:shop-web "worker of the fleet shop" /var/lib/shop -' in text
    assert "root" not in units.sysusers(made(worker(user="root")))


def test_units_fleet_in_tmp_shares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert "PrivateTmp=yes" in units.service_unit(made(worker()))
    shared = plan.make(replace(fleet(worker()), file="/tmp/fleet.toml"), systemd=252)
    assert "PrivateTmp=no" in units.service_unit(shared)
    assert "ReadWritePaths=/tmp /var/tmp" in units.service_unit(shared), "or they are read-only"


def test_units_runtime_folder_must_be_below_run() -> None:
    with pytest.raises(ZygoteError, match="not below /run"):
        made(worker(), runtime_dir="/var/lib/x")


def test_perworker_keys_are_said_in_systemd_s_words() -> None:
    spec = worker(
        user="shop-web", memory_max=64 << 20, cpu_max=0.5, tasks_max=7, nice=3, umask=0o077,
        watchdog=30.0, rlimits={"nofile": (10, -1)}, capabilities=("CAP_CHOWN",), private_tmp=True,
        landlock={"read": ("/srv",)}, restart="always",
        credentials={"key": "/etc/key"},
    )  # fmt: skip
    found = list(perworker.settings(spec))
    for pair in (
        ("User", "shop-web"), ("MemoryMax", str(64 << 20)), ("MemorySwapMax", "0"),
        ("CPUQuota", "50%"), ("TasksMax", "7"), ("Nice", "3"), ("UMask", "0077"),
        ("WatchdogSec", "30s"), ("LimitNOFILE", "10:infinity"), ("Restart", "always"),
        ("CapabilityBoundingSet", "CAP_CHOWN"), ("AmbientCapabilities", "CAP_CHOWN"),
        ("PrivateTmp", "yes"), ("LoadCredential", "key:/etc/key"), ("WorkingDirectory", "/srv"),
        ("NoNewPrivileges", "yes"),
    ):  # fmt: skip
        assert pair in found, pair


def test_perworker_key_that_only_a_manager_keeps_is_refused() -> None:
    with pytest.raises(ZygoteError, match="worker 'web': isolation can be kept by a manager only"):
        perworker.files(made(worker(isolation="exec")))
    told = perworker.left_out(made(worker(max_private=1 << 20)))
    assert told == ["max_private has no effect without a manager (web)"]


def test_perworker_that_needs_a_manager_is_not_started() -> None:
    tenant = plan.Tenant(managed=("web", "other"))
    made_of = plan.make(fleet(worker(), worker("queue")), systemd=252, tenant=tenant)
    found = perworker.files(made_of)
    target = found[Path("/etc/systemd/system/shop.target")]
    assert "shop-worker@queue" in target and "shop-worker@web" not in target
    assert "web: not started, for they act through a manager" in perworker.left_out(made_of)
    drop_in = found[Path("/etc/systemd/system/shop-worker@web.service.d/10-fleet.conf")]
    assert drop_in.endswith("Restart=no\n")


def test_perworker_credential_that_may_be_missing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    spec = worker(credentials={"a": f"-{there}", "b": f"-{tmp_path}/gone", "c": "/etc/c"})
    loaded = [value for key, value in perworker.settings(spec) if key == "LoadCredential"]
    assert loaded == [f"a:{there}", "c:/etc/c"]
    [told] = perworker.left_out(made(spec))
    assert told.startswith("worker 'web' starts without b: not there yet")


def test_perworker_branch_stands_alone_with_its_parent_s_imports() -> None:
    spec = find(fleet(worker()), "packet")
    assert (spec.preload, spec.warm, spec.parent) == (("a", "b"), ("a:w",), "")
    with pytest.raises(ZygoteError, match="no zygote 'x'"):
        find(fleet(worker()), "x")


def test_place_writes_all_or_nothing_and_removes_only_its_own(tmp_path: Path) -> None:
    files = units.files(made(worker()))
    theirs = tmp_path / "etc/systemd/system/shop.socket"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Socket]\n")
    said: list[str] = []
    with pytest.raises(ZygoteError, match="was not written by us"):
        place.write(files, tmp_path, said.append)
    assert list(theirs.parent.iterdir()) == [theirs]
    theirs.unlink()
    written = place.write(files, tmp_path, said.append)
    assert len(written) == 5 and place.write(files, tmp_path, said.append) == written
    theirs.write_text("[Socket]\n")
    assert len(place.remove(written, said.append)) == 4
    assert theirs.exists() and f"left {theirs}: it was not written by us" in said
