"""DECNET_USER: the whole fleet as another user than the manager, started as the units do."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import cyclopts
import pytest

from decnet.run.ports import free_ports
from tests.integration.test_zygote_user import copied, open_folder
from tests.support.decnet_env import query
from tests.support.managers import Manager, managers
from zygote.sys import caps

ROOT = Path(__file__).resolve().parents[2]
USER = "nobody"
DECOYS = ("ssh", "http")
PATIENCE = 120.0
pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not caps.read().permitted >> caps.NUMBERS["CAP_SETUID"] & 1,
    reason="only root may become somebody else",
)


def fleet_text() -> str:
    """decnet's own fleet file, its floors only frozen, with two decoys."""
    text = (ROOT / "decnet" / "fleet.toml").read_text()
    text, warmed = re.subn(r"(?m)^warm = .*$", 'bake = ["freeze"]', text)
    assert warmed == 3
    head, _, _ = text.partition('[worker."decoy@ssh"]')
    return head + "".join(f'[worker."decoy@{kind}"]\n' for kind in DECOYS)


def everything(place: Path) -> tuple[str, str]:
    """A Python with all that decnet needs, where anybody may read it: hard links."""
    python, site = copied(place)
    packages = Path(cyclopts.__file__).parents[1]
    try:
        subprocess.run(["cp", "-al", packages, place / "packages"], check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(place / "packages", ignore_errors=True)
        subprocess.run(["cp", "-a", packages, place / "packages"], check=True)
    shutil.copytree(ROOT / "decnet", Path(site) / "decnet")
    return python, f"{site}:{place / 'packages'}"


async def test_whole_fleet_runs_as_another_user() -> None:
    entry = pwd.getpwnam(USER)
    with open_folder() as place:
        (place / "copy").mkdir()
        python, path = everything(place / "copy")
        state = place / "state"
        env = {
            "DECNET_USER": USER, "DECNET_STATE_DIR": str(state), "PYTHONPATH": path,
            "DECNET_ADMIN_PASSWORD": "a secret of the operator's", **free_ports(1),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        done = await asyncio.to_thread(
            subprocess.run, [python, "-m", "decnet.run.prepare"], env={**os.environ, **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        async with managers(place) as make:
            manager: Manager = make("")
            manager.file.write_text(fleet_text())
            manager.env, manager.patience = env, PATIENCE
            start = f'shift 2; exec {python} -P -m decnet.run.service "$@"'
            manager.prefix = ("/bin/sh", "-c", start, "sh")
            await manager.start()
            found = await manager.eventually(
                manager.workers, lambda all_: all(w.ready for w in all_)
            )
            assert len(found) == 18 + len(DECOYS)
            uid = entry.pw_uid
            for worker in found:
                status = Path(f"/proc/{worker.pid}/status").read_text()
                assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status, worker.name
                assert not [gap for gap in worker.gaps if "user" in gap], worker.gaps
                environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
                assert b"a secret of the operator" not in environment
            for secret in ("jwt-secret", "given/admin-password", "ship/ca/ca.key"):
                assert (state / secret).stat().st_uid == 0, secret
            assert (state / "db" / "decnet.db").stat().st_uid == uid
            await _visit(int(env["DECNET_DECOY_HTTP_PORT"]))
            await manager.eventually(lambda: _stored(state), lambda count: count > 0)
            assert await manager.end() == 0


async def _visit(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /from-outside HTTP/1.0\r\n\r\n")
        assert await reader.read()
        writer.close()


async def _stored(state: Path) -> int:
    sql = "SELECT count(*) FROM logs WHERE service = 'http'"
    return int(query(state / "db" / "decnet.db", sql)[0][0])
