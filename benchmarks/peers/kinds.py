"""The peers: how each is started, configured as its documentation has it for sharing memory."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.venv import BIN, PYTHON, ROOT

FLOOR = ("benchmarks.peers.app", "benchmarks.peers.line")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to run N workers.

    Attributes:
        command: from the scratch folder and N to the arguments; may write files there.
        transport: how a worker is asked: "line", "http" or "task".
        package: whose version is reported; "" for the interpreter's.
        restarts: whether a worker that was killed is replaced.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    transport: str = "line"
    package: str = ""
    restarts: bool = True
    note: str = ""


def _master(kind: str) -> Callable[[Path, int], list[str]]:
    def command(_: Path, n: int) -> list[str]:
        return [str(PYTHON), "-m", "benchmarks.peers.masters", kind, str(n)]

    return command


def _gunicorn(folder: Path, n: int) -> list[str]:
    return [
        *(str(BIN / "gunicorn"), "--preload", "--workers", str(n)),
        *("--worker-class", "uvicorn_worker.UvicornWorker"),
        *("--bind", f"unix:{folder}/http.sock", "--no-control-socket"),
        *("--log-level", "warning", "benchmarks.peers.asgi:APP"),
    ]


def _uwsgi(folder: Path, n: int) -> list[str]:
    return [
        *(str(BIN / "uwsgi"), "--master", "--processes", str(n), "--need-app", "--die-on-term"),
        *("--single-interpreter", "--home", str(BIN.parent), "--pythonpath", str(ROOT)),
        *("--http-socket", f"{folder}/http.sock", "--listen", "100", "--disable-logging"),
        *("--module", "benchmarks.peers.wsgi:application"),
    ]


def _celery(folder: Path, n: int) -> list[str]:
    return [
        *(str(BIN / "celery"), "--app", "benchmarks.peers.tasks:APP", "worker"),
        *("--pool", "prefork", "--concurrency", str(n), "-O", "fair", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _supervisord(folder: Path, n: int) -> list[str]:
    file = folder / "supervisord.conf"
    file.write_text(f"""
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
[program:line]
command = {PYTHON} -m benchmarks.peers.line
process_name = line-%(process_num)s
numprocs = {n}
autorestart = true
""")
    return [str(BIN / "supervisord"), "--configuration", str(file)]


def _zygote(folder: Path, n: int) -> list[str]:
    file = folder / "fleet.toml"
    preload = ", ".join(f'"{each}"' for each in FLOOR)
    instances = "\n".join(f'[worker."line@{number}"]' for number in range(n))
    file.write_text(f"""
[fleet]
name = "peers"
[zygote.floor]
preload = [{preload}]
warm = ["benchmarks.peers.app:warm"]
cwd = "{ROOT}"
[worker."line@"]
run = "benchmarks.peers.line:serve"
{instances}
""")
    run = ("--fleet", str(file), "--runtime-dir", f"{folder}/run")
    return [str(PYTHON), "-m", "zygote.manager", *run]


PEERS = (
    Peer("supervisord", _supervisord, package="supervisor", note="cold processes"),
    Peer("forkserver", _master("forkserver"), restarts=False, note="not restarted"),
    Peer("os.fork", _master("fork"), note="a loop of our own"),
    Peer("os.fork frozen", _master("frozen"), note="warmed, gc.freeze()"),
    Peer("gunicorn", _gunicorn, "http", "gunicorn", note="--preload, uvicorn workers"),
    Peer("uwsgi", _uwsgi, "http", "uwsgi", note="no lazy-apps, WSGI"),
    Peer("celery", _celery, "task", "celery", note="prefork, broker of files"),
    Peer("zygote", _zygote, package="zygote-fleet", note="ours"),
)


def version(peer: Peer, versions: dict[str, str]) -> str:
    """What is compared; the interpreter's own parts have its version."""
    return versions[peer.package] if peer.package else platform.python_version()
