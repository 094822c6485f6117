"""What decnet's own fleet file allows to each worker: the forbidden acts, tried from inside.

Each worker's walls as shipped, around a program that tries. Without a database server, certificates
or an attacker; that their own jobs still work is for the tests of the fleet to tell.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.run.arrange import arrange
from decnet.run.variables import variables
from decnet.settings import Settings
from tests.support.children import spawn, started
from tests.support.forkserver import MiniManager, baked
from zygote.fleet.load import check
from zygote.fleet.model import Fleet, WorkerSpec, instantiate
from zygote.manager import request, walls
from zygote.sys import caps, landlock

PRIVILEGED = bool(caps.read().permitted)
ABI = landlock.abi()
FLEET = Path(__file__).resolve().parents[2] / "decnet" / "fleet.toml"
FOREIGN = "ship/ca/ca.key"
SECRETS = {
    "database": "db/decnet.db",
    "signing key": "jwt-secret",
    "password": "admin-password",
    "authority's key": FOREIGN,
    "listener's key": "ship/master/worker.key",
    "forwarder's key": "ship/agent/worker.key",
    "key of decoy ssh": "keys/ssh/ssh_ed25519_host_key",
    "key of decoy ssh-02": "keys/ssh-02/ssh_ed25519_host_key",
    "log": "log/decnet.log",
    "events": "spool/decoy@ssh.log",
    "captures": "artifacts/capture",
}
DATABASE = {"database"}
EVENTS = {"events"}
NET = {"connect", "udp"}
ALLOWED: dict[str, set[str]] = {
    "bus": set(),
    "collect": DATABASE | EVENTS | {"captures", "log"},
    "profiler": DATABASE | {"captures"},
    "enrich": DATABASE | {"udp"},
    "ttp": DATABASE,
    "mutate": DATABASE | EVENTS,
    "reconciler": DATABASE,
    "orchestrator": DATABASE | NET | {"captures"},
    "clusterer": DATABASE,
    "campaign-clusterer": DATABASE,
    "api": DATABASE | {"captures", "udp"},
    "web": {"udp"},
    "webhook": DATABASE | NET,
    "sniffer": EVENTS | {"raw", "packet", "udp"},
    "probe": DATABASE | EVENTS | NET | {"raw"},
    "canary": DATABASE | {"udp"},
    "listener": EVENTS | {"listener's key", "udp"},
    "forwarder": {"forwarder's key", "log", "udp"},
    "decoy@ssh": EVENTS | {"captures", "key of decoy ssh", "low port", "udp"},
    "decoy@ssh-02": EVENTS | {"captures", "key of decoy ssh-02", "low port", "udp"},
    "decoy@http": EVENTS | {"captures", "low port", "udp"},
}
"""Worker -> what it can do of what is tried."""
SPY = """
import ctypes, json, os, signal, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
done = {}
def attempt(name, act):
    try:
        done[name] = not (act() or 0) < 0
    except OSError as error:
        done[name] = False
def read(path):
    attempt_fd = os.open(path, os.O_RDONLY)
    os.close(attempt_fd)
def make(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()
def reach(port):
    with socket.socket() as one:
        one.connect(("127.0.0.1", port))
def bind(port):
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))
def forks():
    if os.fork() == 0:
        os._exit(0)
given = json.loads(sys.argv[1])
x86 = os.uname().machine == "x86_64"  # else the numbers of arm64
for name, path in given["files"].items():
    attempt(name, lambda: read(path))
attempt("raw", lambda: make(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: make(socket.AF_PACKET, socket.SOCK_RAW))
attempt("udp", lambda: make(socket.AF_INET, socket.SOCK_DGRAM))
attempt("connect", lambda: reach(given["port"]))
attempt("low port", lambda: bind(given["low"]))
attempt("fork", forks)
attempt("namespace", lambda: libc.unshare(0x10000000))
attempt("ptrace", lambda: libc.ptrace(16, given["sibling"], 0, 0))
attempt("signal", lambda: os.kill(given["sibling"], signal.SIGKILL))
attempt("kernel", lambda: libc.syscall(321 if x86 else 280, 0, 0, 0))  # bpf
attempt("thread", lambda: threading.Thread(target=int).start())
attempt("shell", lambda: os.execv("/bin/sh", ["sh", "-c", "echo shell"]))
print(json.dumps(done), flush=True)
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder as `decnetctl up` makes it, with something in every secret place."""
    state = tmp_path_factory.mktemp("state")
    arrange(Settings.from_env({"DECNET_STATE_DIR": str(state)}))
    for name in SECRETS.values():
        file = state / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text("secret")
            file.chmod(0o600)
    return state


@pytest.fixture(scope="module")
def fleet(state: Path) -> Fleet:
    env = {"DECNET_STATE_DIR": str(state), "HOME": str(state)}
    fleet, errors = check(FLEET, env | variables(env))
    assert fleet, errors
    return fleet


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    with baked(tmp_path_factory.mktemp("zygote")) as made:
        yield made


def spec_of(fleet: Fleet, name: str) -> WorkerSpec:
    stem, at, instance = name.partition("@")
    return fleet.workers.get(name) or instantiate(fleet.templates[stem + at], instance)


def test_decnet_every_worker_is_tried(fleet: Fleet) -> None:
    kinds = {name.rpartition("-0")[0] or name for name in fleet.workers}
    assert {name for name in kinds if "@" not in name} <= set(ALLOWED)
    for spec in (*fleet.workers.values(), *fleet.templates.values()):
        assert spec.landlock is not None and spec.seccomp and spec.no_new_privs, spec.name
        assert spec.control == "none" or spec.name in (
            "api", "mutate", "reconciler", "orchestrator",
        )  # fmt: skip
        raw = "CAP_NET_RAW" in (spec.capabilities or ())
        assert raw == (spec.name in ("sniffer", "probe"))
        low = "CAP_NET_BIND_SERVICE" in (spec.capabilities or ())
        assert low == spec.name.startswith("decoy@")
        assert len(spec.capabilities or ()) <= 1


@pytest.mark.parametrize("name", ALLOWED)
def test_decnet_worker_can_do_its_job_and_no_more(
    manager: MiniManager, fleet: Fleet, state: Path, tmp_path: Path, name: str
) -> None:
    if ABI < 6:
        pytest.skip("needs landlock with ports and signals (Linux 6.12); see tests/system")
    spec = spec_of(fleet, name)
    runtime = tmp_path / "run"
    runtime.mkdir()
    body = confined(spec, runtime)
    sibling_folder = tmp_path / "sibling"
    sibling_folder.mkdir()
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        started(
            manager, sibling_folder, "import time; time.sleep(600)", env={"TOKEN": "secret"},
            capabilities=[],
        ) as sibling,
    ):  # fmt: skip
        near = {f"sibling's {what}": f"/proc/{sibling.pid}/{what}" for what in ("environ", "mem")}
        files = {key: str(state / path) for key, path in SECRETS.items()} | near
        files |= {"shadow": "/etc/shadow", "control": f"{runtime}/state"}
        given = {"files": files, "port": other.getsockname()[1], "low": 1, "sibling": sibling.pid}
        made = spawn(manager, tmp_path, SPY, args=[json.dumps(given)], **body)
        assert made.report and made.report["up"], made.report
        assert not made.report["gaps"] or not PRIVILEGED, made.report
        done = {act for act, worked in json.loads(made.lines[-1]).items() if worked}
        (_, alive) = os.waitpid(sibling.pid, os.WNOHANG)
        assert alive == 0, "its sibling lives"
    expected = ALLOWED[name] | {"thread"}
    if not PRIVILEGED:
        expected -= {"raw", "packet", "low port"}
    assert done == expected


def confined(spec: WorkerSpec, runtime: Path) -> dict[str, object]:
    """The parts of a worker's Spawn that shut it in."""
    house = request.House("decnet", str(runtime), str(runtime / "notify.sock"), {})
    uid, gid, *_ = request.resolve_identity(spec)
    walls.make_folders(spec, str(runtime), uid, gid)
    whole = request.worker_body(spec, house, bytes(16), [])
    keys = ("uid", "gid", "groups", "capabilities", "no_new_privs", "walls", "umask")
    return {key: whole[key] for key in keys}


def test_decnet_state_is_private(state: Path) -> None:
    for name in SECRETS.values():
        assert not stat.S_IMODE((state / name).stat().st_mode) & 0o077
    assert (state / "decnet.db").is_symlink()
    arrange(Settings.from_env({"DECNET_STATE_DIR": str(state)}))  # finds it done


def test_decnet_arranges_what_an_earlier_version_left(tmp_path: Path) -> None:
    for name in (
        *("decnet.db", "decnet.db-wal", "decnet.log", "forwarder.json"),
        *("ssh_ed25519_host_key", "decky-02_ssh_ed25519_host_key"),
    ):
        (tmp_path / name).write_text(name)
    settings = Settings.from_env({"DECNET_STATE_DIR": str(tmp_path)})
    arrange(settings)
    assert (tmp_path / "db" / "decnet.db-wal").read_text() == "decnet.db-wal"
    assert (tmp_path / "decnet.db").read_text() == "decnet.db", "found where it was"
    assert (tmp_path / "forwarder" / "forwarder.json").exists()
    assert (tmp_path / "keys" / "ssh" / "ssh_ed25519_host_key").exists()
    assert (tmp_path / "keys" / "ssh-02" / "decky-02_ssh_ed25519_host_key").exists()
    after = Settings.from_env({"DECNET_STATE_DIR": str(tmp_path)})
    assert after.db_file == tmp_path / "db" / "decnet.db"
    assert after.log_file == tmp_path / "log" / "decnet.log"
