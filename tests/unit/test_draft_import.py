"""`zygotectl import`: other managers' files, of the shapes that they have in the wild."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from zygote.draft.model import Draft
from zygote.draft.sources import kind_of, take
from zygote.draft.write import settle
from zygote.errors import ZygoteError
from zygote.fleet.load import check

PROJECT = {
    "shop/__init__.py": "",
    "shop/web.py": "import json\nimport fastapi\n\napp = fastapi.FastAPI()\n",
    "shop/tasks.py": "import sqlalchemy.orm\nfrom shop import models\n\ndef main(): ...\n"
    "if __name__ == '__main__':\n    main()\n",
    "shop/models.py": "import pydantic\n",
    "shop/db.py": "import sqlalchemy\n\nengine = sqlalchemy.create_engine('sqlite://')\n",
    "jobs/nightly.py": "from shop import db\nprint('done')\n",
    "tools/backup.sh": "#!/bin/sh\ntrue\n",
}
SUPERVISORD = """\
[unix_http_server]
file=/var/run/supervisor.sock   ; the path to the socket file
chmod=0700

[supervisord]
logfile=/var/log/supervisor/supervisord.log
nodaemon=false

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:web]
command=uvicorn shop.web:app --host 127.0.0.1 --port %(ENV_WEB_PORT)s --reload
directory=.
autostart=true
autorestart=unexpected
startsecs=5
startretries=4
stopsignal=INT
stopwaitsecs=20
stopasgroup=true
environment=DATABASE_URL="postgres://localhost/shop?a=1,2",DEBUG=0,HERE="%(here)s"
stdout_logfile=/var/log/shop/web.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
redirect_stderr=true
umask=027

[program:task]
command=python -u -m shop.tasks --slot %(process_num)02d
process_name=%(program_name)s_%(process_num)02d
numprocs=3
autorestart=true
priority=10

[program:cache]
command=/bin/sleep 1000

[program:backup]
command=tools/backup.sh

[group:all]
programs=web,task
"""
PROCFILE = """\
# what Heroku starts
web: gunicorn shop.web:app --workers 4 --bind 0.0.0.0:$PORT
worker: QUEUE=mail python -u -m shop.tasks --queue=${QUEUE_NAME:-default}
nightly: python jobs/nightly.py
release: python -m shop.tasks --migrate
assets: npm run build && cp -r dist static
"""
CIRCUS = """\
[circus]
check_delay = 5
endpoint = tcp://127.0.0.1:5555
statsd = true

[watcher:web]
cmd = uvicorn
args = shop.web:app --fd $(circus.sockets.web)
use_sockets = True

[watcher:tasks]
cmd = python -m shop.tasks --number $(circus.wid)
numprocesses = 2
uid = nobody
working_dir = .
copy_env = True
max_retry = 5
graceful_timeout = 30
stop_signal = SIGINT
rlimit_nofile = 500
stdout_stream.class = FileStream
stdout_stream.filename = /var/log/shop/tasks.log
hooks.before_start = shop.hooks.before

[env:tasks]
queue = mail

[socket:web]
host = 127.0.0.1
port = 8000
"""
GUNICORN = """\
import multiprocessing
import os

wsgi_app = "shop.web:app"
bind = "127.0.0.1:8000"
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "uvicorn_worker.UvicornWorker"
timeout = 60
graceful_timeout = 25
max_requests = 1000
preload_app = True
daemon = False
proc_name = "shop"
umask = 0o027
raw_env = ["DEBUG=0", "TOKEN=${X}"]
os.remove(__file__)  # it would be noticed if this file were run


def post_fork(server, worker):
    server.log.info("forked")
"""
SERVICE = """\
[Unit]
Description=Shop: tasks of queue %i
After=network-online.target postgresql.service
Requires=postgresql.service

[Service]
Type=notify
User=www-data
WorkingDirectory=%FOLDER%
Environment=QUEUE=%i "GREETING=good day"
EnvironmentFile=-/etc/default/shop
ExecStartPre=/usr/bin/install -d /run/shop
ExecStart=/usr/bin/env python3 -m shop.tasks \\
    --queue %i --log ${LOG_LEVEL}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-abnormal
RestartSec=2
TimeoutStopSec=1min 30s
WatchdogSec=30
MemoryMax=256M
TasksMax=64
CPUQuota=150%
LimitNOFILE=4096:8192
Nice=5
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=true
RestrictAddressFamilies=AF_UNIX
RestrictAddressFamilies=AF_INET
LoadCredential=key:/etc/shop/key
StandardOutput=journal

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def taken(home: Path, name: str, text: str) -> tuple[Draft, dict[str, Any]]:
    """The draft of a file, and the fleet file made of it, which passes the check."""
    file = home / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.replace("%FOLDER%", str(home)))
    draft = take(file, home)
    made = settle(draft, home / "fleet.toml", {})
    (home / "fleet.toml").write_text(made)
    fleet, errors = check(home / "fleet.toml", {})
    assert fleet and not errors
    return draft, tomllib.loads(made)


def lost(draft: Draft) -> dict[str, str]:
    return {each.what.partition("=")[0].strip(): each.why for each in draft.lost}


def test_import_supervisord(home: Path) -> None:
    draft, made = taken(home, "supervisord.conf", SUPERVISORD)
    web = made["worker"]["web"]
    assert web["run"] == "uvicorn"
    assert web["args"] == ["shop.web:app", "--host", "127.0.0.1", "--port", "${WEB_PORT:-}"]
    assert web["env"] == {
        "DATABASE_URL": "postgres://localhost/shop?a=1,2", "DEBUG": "0", "HERE": str(home)
    }  # fmt: skip
    assert {key: web[key] for key in ("restart", "start_limit", "stop_signal", "stop_grace")} == {
        "restart": "on-failure", "start_limit": 4, "stop_signal": "SIGINT", "stop_grace": 20
    }  # fmt: skip
    assert (web["log_max_bytes"], web["log_keep"], web["umask"]) == ("10M", 3, "0027")
    task = made["worker"]["task@"]
    assert task["run"] == "shop.tasks" and task["args"] == ["--slot", "%i"]
    assert task["env"] == {"PYTHONUNBUFFERED": "1"} and task["restart"] == "always"
    assert {"task@0", "task@1", "task@2"} <= set(made["worker"])
    assert "cache" not in made["worker"] and "backup" not in made["worker"]
    missing = lost(draft)
    for key in ("[program:web] startsecs", "[program:web] stdout_logfile", "[supervisord]",
                "[group:all]", "--reload", "[program:web] stopasgroup"):  # fmt: skip
        assert missing[key], key
    assert "compiled" in missing["cache: /bin/sleep 1000"]
    assert "another language" in missing["backup: tools/backup.sh"]
    assert next(each for each in draft.lost if "startsecs" in each.what).place == (
        "supervisord.conf:17"
    )
    assert {"uvicorn", "fastapi", "shop.web"} <= set(draft.preload)


def test_import_supervisord_reads_included_files(home: Path) -> None:
    (home / "conf.d").mkdir()
    (home / "conf.d/one.conf").write_text("[program:one]\ncommand=python -m shop.tasks\n")
    _, made = taken(home, "super.conf", "[supervisord]\n[include]\nfiles = conf.d/*.conf\n")
    assert made["worker"]["one"] == {"run": "shop.tasks"}


def test_import_procfile(home: Path) -> None:
    (home / ".env").write_text("SECRET_KEY=hunter2\nexport DEBUG=1\n")
    draft, made = taken(home, "Procfile", PROCFILE)
    workers = made["worker"]
    assert workers["worker"] == {
        "run": "shop.tasks", "args": ["--queue=${QUEUE_NAME:-default}"],
        "env": {"QUEUE": "mail", "PYTHONUNBUFFERED": "1"},
    }  # fmt: skip
    assert workers["nightly"]["run"] == "./jobs/nightly.py"
    assert workers["release"]["autostart"] is False and workers["release"]["restart"] == "no"
    assert "assets" not in workers
    assert "web" not in workers, "gunicorn is not installed here"
    [web] = [each for each in draft.workers if each.name == "web"]
    assert web.keys["run"] == "gunicorn" and "no module 'gunicorn'" in web.off
    assert web.keys["args"][-1] == "0.0.0.0:${PORT:-8000}"
    assert "a shell is needed for '&&'" in lost(draft)["assets: npm run build && cp -r dist static"]
    text = (home / "fleet.toml").read_text()
    assert "SECRET_KEY" in text and "hunter2" not in text, "names of secrets, never the values"
    assert "shop.db" in draft.left_out or "shop.db" not in draft.preload


def test_import_circus(home: Path) -> None:
    draft, made = taken(home, "circus.ini", CIRCUS)
    tasks = made["worker"]["tasks@"]
    assert tasks["run"] == "shop.tasks" and tasks["args"] == ["--number", "%i"]
    assert {key: tasks[key] for key in ("user", "start_limit", "stop_grace", "stop_signal")} == {
        "user": "nobody", "start_limit": 5, "stop_grace": 30, "stop_signal": "SIGINT"
    }  # fmt: skip
    assert tasks["rlimits"] == {"nofile": 500} and tasks["env"] == {"QUEUE": "mail"}
    assert {"tasks@1", "tasks@2"} <= set(made["worker"])
    assert "web" not in made["worker"], "it is given its socket by circus"
    missing = lost(draft)
    for key in ("[socket:web]", "[circus] endpoint", "[watcher:tasks] hooks.before_start",
                "[watcher:tasks] stdout_stream.class", "[watcher:web] use_sockets"):  # fmt: skip
        assert missing[key], key


def test_import_gunicorn_reads_and_does_not_run(home: Path) -> None:
    draft, made = taken(home, "gunicorn.conf.py", GUNICORN)
    assert (home / "gunicorn.conf.py").exists(), "it was not executed"
    [web] = draft.workers
    assert web.keys["args"] == ["--config", "gunicorn.conf.py"]
    assert web.keys["stop_grace"] == 30 and web.keys["umask"] == "0027"
    assert web.keys["env"] == {"DEBUG": "0", "TOKEN": "$${X}"} and web.keys["title"] == "shop"
    assert "no module 'gunicorn'" in web.off, "not installed here: said, and commented out"
    assert "shop.web" not in draft.preload or made
    assert "workers: gunicorn goes on reading it from its file." in web.said
    missing = lost(draft)
    for key in ("timeout", "max_requests", "def post_fork"):
        assert missing[key], key


def test_import_unit_template(home: Path) -> None:
    draft, made = taken(home, "tasks@.service", SERVICE)
    worker = made["worker"]["tasks@"]
    assert worker["run"] == "shop.tasks"
    assert worker["args"] == ["--queue", "%i", "--log", "${LOG_LEVEL:-}"]
    assert worker["env"] == {"QUEUE": "%i", "GREETING": "good day"}
    wanted = {
        "type": "notify", "user": "www-data", "restart": "on-failure", "restart_delay": 2,
        "stop_grace": "1min 30s", "watchdog": 30, "memory_max": "256M", "tasks_max": 64,
        "cpu_max": "150%", "rlimits": {"nofile": [4096, 8192]}, "nice": 5, "no_new_privs": True,
        "private_tmp": True, "address_families": ["AF_UNIX", "AF_INET"],
        "credentials": {"key": "/etc/shop/key"},
    }  # fmt: skip
    assert {key: worker[key] for key in wanted} == wanted
    missing = lost(draft)
    for key in ("After", "Requires", "EnvironmentFile", "ExecStartPre", "ExecReload",
                "ProtectSystem", "StandardOutput", "Restart"):  # fmt: skip
        assert key in missing, key


def test_import_unit_of_another_python_and_of_no_python(home: Path) -> None:
    draft, made = taken(
        home, "one.service",
        "[Service]\nExecStart=-/opt/none/bin/python3 -m shop.tasks\nType=forking\nExecStart=\n",
    )  # fmt: skip
    assert made["worker"]["one"]["run"] == "shop.tasks"
    assert "no such interpreter" in lost(draft)["/opt/none/bin/python3"]
    assert "foreground" in lost(draft)["Type"]
    draft, made = taken(home, "redis.service", "[Service]\nExecStart=/bin/sh -c 'sleep 9 | cat'\n")
    assert "worker" not in made and draft.workers[0].off


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("fleet.ini", "[something]\n", "unknown-format"),
        ("Procfile", "# nothing\n", "nothing-found"),
        ("gunicorn.conf.py", "bind = (\n", "not-python"),
        ("gone.service", None, "cannot-read"),
    ],
)
def test_import_refuses(home: Path, name: str, text: str | None, code: str) -> None:
    if text is not None:
        (home / name).write_text(text)
    with pytest.raises(ZygoteError) as found:
        take(home / name, home)
    assert found.value.code == code and found.value.hint


def test_import_knows_whose_file_it_is(tmp_path: Path) -> None:
    for name, text, kind in (
        ("Procfile.dev", "web: true", "procfile"),
        ("x.conf", "[program:x]\n", "supervisord"),
        ("x.ini", "[watcher:x]\n", "circus"),
        ("x@y.service", "", "systemd"),
        ("conf.py", "", "gunicorn"),
    ):
        (tmp_path / name).write_text(text)
        assert kind_of(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("line", "run", "args"),
    [
        ("python3 app.py -v", "app.py", ["-v"]),
        ("exec poetry run python -m shop.tasks 'a b'", "shop.tasks", ["a b"]),
        ("/srv/none/bin/celery -A shop.tasks worker", "celery", ["-A", "shop.tasks", "worker"]),
        ("bash -lc 'python -m shop.tasks'", "shop.tasks", []),
        ("A=1 env B=2 flask --app shop.web run", "flask", ["--app", "shop.web", "run"]),
    ],
)
def test_import_command_lines(home: Path, line: str, run: str, args: list[str]) -> None:
    from zygote.draft.command import read_line

    command = read_line(line, home, shell=True)
    assert (command.run, command.args) == (run, args)


@pytest.mark.parametrize(
    "line",
    ["", "python -c 'print(1)'", "a | b", "ddtrace-run python app.py", "no-such-command-here",
     "python", "'unbalanced", "cat x"],
)  # fmt: skip
def test_import_command_lines_that_are_refused(home: Path, line: str) -> None:
    from zygote.draft.command import Refused, read_line

    with pytest.raises(Refused) as found:
        read_line(line, home, shell=True)
    assert str(found.value)
