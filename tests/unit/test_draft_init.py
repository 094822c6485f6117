"""`zygotectl init`: what is guessed from a project's sources, of which nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zygote.draft.model import Draft, fleet_name
from zygote.draft.project import guesses, scan
from zygote.draft.write import settle
from zygote.errors import ZygoteError
from zygote.fleet.load import check

TRAP = "raise SystemExit('this project was imported')\n"
LOOP = "import time\ndef main():\n    while True:\n        time.sleep(1)\n"
APP = "from fastapi import FastAPI\napp = FastAPI()\n"
GUARD = "if __name__ == '__main__':\n    main()\n"


def drafted(folder: Path, files: dict[str, str]) -> tuple[Draft, dict[str, dict[str, Any]]]:
    """The draft of a project, and its workers; the file made of it passes the check."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    draft = scan(folder)
    (folder / "fleet.toml").write_text(settle(draft, folder / "fleet.toml", {}))
    fleet, errors = check(folder / "fleet.toml", {})
    assert fleet and not errors
    return draft, {worker.name: worker.keys for worker in draft.workers if not worker.off}


def test_init_finds_a_web_application_and_its_imports(tmp_path: Path) -> None:
    draft, workers = drafted(tmp_path, {
        "shop/__init__.py": "", "shop/models.py": "from sqlalchemy.orm import Session\n",
        "shop/web.py": TRAP + "from shop import models\n" + APP,
    })  # fmt: skip
    assert workers["web"]["run"] == "uvicorn"
    assert workers["web"]["args"][0] == "shop.web:app"
    assert {"uvicorn", "fastapi", "shop.web", "sqlalchemy"} == set(draft.preload)
    assert any("shop/web.py:4" in line for line in guesses(draft))


def test_init_finds_a_factory_in_a_src_layout(tmp_path: Path) -> None:
    draft, workers = drafted(tmp_path, {
        "src/shop/__init__.py": "",
        "src/shop/app.py": "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n",
        "pyproject.toml": '[project]\nname = "The Shop"\n',
    })  # fmt: skip
    assert draft.name == "the-shop" and draft.zygote["path"] == ["src"]
    assert workers["web"]["args"][:2] == ["shop.app:create_app", "--factory"]


def test_init_tells_services_from_commands(tmp_path: Path) -> None:
    _, workers = drafted(tmp_path, {
        "pyproject.toml": '[project]\nname = "x"\n[project.scripts]\nxd = "x.daemon:main"\n'
                          'xctl = "x.tool:main"\n',
        "x/__init__.py": "", "x/daemon.py": LOOP,
        "x/tool.py": "import argparse\ndef main():\n    print(1)\n",
    })  # fmt: skip
    assert workers["xd"] == {"run": "x.daemon:main"}
    assert workers["xctl"] == {"run": "x.tool:main", "autostart": False, "restart": "no"}


def test_init_finds_packages_and_files_that_can_be_run(tmp_path: Path) -> None:
    draft, workers = drafted(tmp_path, {
        "bot/__init__.py": "", "bot/__main__.py": LOOP + "main()\n",
        "poll.py": LOOP + GUARD, "jobs/queue.py": LOOP, "jobs/__init__.py": "",
        "lib/calc.py": "def main(): ...\n" + GUARD, "lib/__init__.py": "",
        "tests/test_bot.py": LOOP + GUARD, ".venv/lib/site.py": LOOP + GUARD,
    })  # fmt: skip
    assert workers == {
        "bot": {"run": "bot"},
        "poll": {"run": "./poll.py"},
        "queue": {"run": "jobs.queue:main"},
    }
    assert "jobs.queue" in draft.preload and "bot" not in draft.preload


def test_init_leaves_out_of_the_floor_what_connects_at_import(tmp_path: Path) -> None:
    draft, _ = drafted(tmp_path, {
        "a/__init__.py": "", "a/db.py": "import sqlalchemy.orm\n"
        "engine = sqlalchemy.create_engine('sqlite://')\n",
        "a/web.py": "from a import db, text\n" + APP, "a/text.py": "import json\n",
    })  # fmt: skip
    assert "line 2 calls create_engine()" in draft.left_out["a.db"]
    assert "a/db.py" in draft.left_out["a.web"], "it imports that one"
    assert "a.text" in draft.preload and "sqlalchemy.orm" in draft.preload


def test_init_queues(tmp_path: Path) -> None:
    """Those that are not installed here are written as comments, with the reason."""
    draft, workers = drafted(tmp_path, {
        "q/__init__.py": "", "q/tasks.py": "from celery import Celery\napp = Celery('q')\n",
        "q/actors.py": "import dramatiq\n@dramatiq.actor\ndef mail(): ...\n",
        "q/arqs.py": "class WorkerSettings:\n    functions = []\n",
        "q/h.py": "from huey import SqliteHuey\nhuey = SqliteHuey()\n",
    })  # fmt: skip
    assert workers == {}
    off = {worker.name: (worker.keys["run"], worker.off) for worker in draft.workers}
    assert off == {
        "celery": ("celery", "celery is not installed"),
        "dramatiq": ("dramatiq", "dramatiq is not installed"),
        "arq": ("arq", "arq is not installed"),
        "huey": ("huey.bin.huey_consumer", "huey is not installed"),
    }
    text = (tmp_path / "fleet.toml").read_text()
    assert "# [worker.celery]" in text and '# args = ["-A", "q.tasks:app"' in text


def test_init_django_and_flask(tmp_path: Path) -> None:
    draft, _ = drafted(tmp_path, {
        "manage.py": "import os\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n",
        "site1/__init__.py": "", "site1/settings.py": "", "site1/wsgi.py": "",
        "old/__init__.py": "",
        "old/web.py": "from flask import Flask\napplication = Flask(__name__)\n",
    })  # fmt: skip
    django, flask = draft.workers
    assert django.keys["env"] == {"DJANGO_SETTINGS_MODULE": "site1.settings"} and django.off
    assert "old.web:application" in flask.keys["args"] and flask.off


def test_init_bad_sources_and_nothing_to_find(tmp_path: Path) -> None:
    draft, workers = drafted(tmp_path, {
        "broken.py": "def (:\n", "zero.py": "a = '\0'\n", "latin.py": "# \xe9\nx = 1\n",
        "my-file.py": "x = 1\n",
    })  # fmt: skip
    assert workers == {} and "No entry point was found" in "".join(draft.said)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZygoteError) as found:
        scan(tmp_path / "empty")
    assert found.value.code == "no-project" and found.value.hint


def test_init_names_other_managers_files(tmp_path: Path) -> None:
    draft, _ = drafted(tmp_path, {"Procfile": "web: x\n", "x.service": "", "a.py": LOOP})
    assert any("zygotectl import Procfile" in line for line in draft.said)
    assert any("x.service" in line for line in draft.said)


def test_init_fleet_names() -> None:
    assert fleet_name("My Shop_2") == "my-shop-2"
    assert fleet_name("…") == "fleet"
    assert len(fleet_name("x" * 100)) == 50
