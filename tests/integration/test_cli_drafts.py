"""`init` and `import` as a user types them, and what they wrote run for real."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_examples import EXAMPLES, ask
from tests.support.cli import Cli, beside_memory, eventually
from tests.support.ports import free_port

SUPERVISORD = f"""\
[program:web]
command={sys.executable} -m uvicorn shop.web:app --port %(ENV_SHOP_PORT)s
autorestart=true
startsecs=1
stopwaitsecs=10

[program:mail]
command=python -m shop.tasks %(process_num)d
numprocs=2
environment=MODE="fast, %(program_name)s"

[program:cache]
command=/bin/sleep 1000
"""
TASKS = "import sys\nfrom shop import mail\nprint(sys.argv[1:], flush=True)\nmail.main()\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Cli]:
    shutil.copytree(EXAMPLES / "shop", tmp_path / "shop")
    (tmp_path / "shop" / "fleet.toml").unlink()
    (tmp_path / "shop" / "shop" / "tasks.py").write_text(TASKS)
    cli = Cli(tmp_path / "shop")
    yield cli
    cli("--runtime-dir", str(tmp_path / "run"), "down", code=None)


def test_init_writes_a_file_that_runs(shop: Cli, tmp_path: Path) -> None:
    done = shop("init")
    assert done.out.startswith("written: ") and "worker web: uvicorn shop.web:app" in done.err
    assert not beside_memory(shop("check").err)
    port, there = free_port(), ("--runtime-dir", str(tmp_path / "run"))
    env = {"PORT": str(port), "SHOP_DATA": str(tmp_path)}
    assert " of " in shop(*there, "up", "--detach", **env).out
    task = eventually(lambda: ask(port, "/customers/Ada", "POST"))["task"]
    assert eventually(lambda: (ask(port, f"/tasks/{task}") or {}).get("state") == "done")


def test_import_supervisord_writes_a_file_that_runs(shop: Cli, tmp_path: Path) -> None:
    (shop.folder / "supervisord.conf").write_text(SUPERVISORD)
    done = shop("import", "supervisord.conf")
    assert "supervisord.conf:4: [program:web] startsecs = 1" in done.err
    assert "/bin/sleep is a compiled program" in done.err
    port, there = free_port(), ("--runtime-dir", str(tmp_path / "run"))
    env = {"SHOP_PORT": str(port), "SHOP_DATA": str(tmp_path)}
    assert shop(*there, "up", "--detach", **env).out.startswith("up: 3 of 3 workers ready")
    assert eventually(lambda: ask(port, "/customers/Ada", "POST"))
    assert eventually(lambda: (ask(port, "/tasks/1") or {}).get("state") == "done")
    assert eventually(lambda: "['1']" in shop(*there, "logs", "mail@1").out)


def test_drafts_never_overwrite_unasked(shop: Cli) -> None:
    file = shop.folder / "fleet.toml"
    file.write_text("# mine\n")
    (shop.folder / "Procfile").write_text("mail: python -m shop.tasks 1\n")
    for words in (["init"], ["import", "Procfile"]):
        done = shop(*words, code=1)
        assert "is there already" in done.err and "--force" in done.err
        assert shop(*words, "--dry-run").out.startswith("# ")
        said = shop(*words, "--json", "-n").json
        assert said["workers"] and said["file"] is None and "[fleet]" in said["text"]
        assert file.read_text() == "# mine\n"
    shop("import", "Procfile", "--force")
    assert "[worker.mail]" in file.read_text()
    assert [each.name for each in shop.folder.glob(".fleet*")] == []


def test_drafts_tell_what_is_wrong(shop: Cli, tmp_path: Path) -> None:
    assert "cannot read" in shop("import", "nothing.conf", code=1).err
    (tmp_path / "empty").mkdir()
    assert "no Python files" in Cli(tmp_path / "empty")("init", code=1).err
    assert "hint:" in shop("import", code=2).err
    (shop.folder / "x.conf").write_text("[what]\n")
    assert "--format" in shop("import", "x.conf", code=2).err
