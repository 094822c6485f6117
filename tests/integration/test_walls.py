"""Walls around a worker: each forbids what it should, lets the rest pass, and says if it fails."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import Made, spawn, started
from tests.support.forkserver import MiniManager, baked
from tests.support.ports import free_port
from zygote.fleet import seccomp
from zygote.fleet.syscalls import NUMBERS
from zygote.sys import caps, landlock
from zygote.wire.messages import REPORT_EXIT

ROOT = os.getuid() == 0
ABI = landlock.abi()
needs_landlock = pytest.mark.skipif(not ABI, reason="this kernel has no landlock")
CALLS = ("@basic-io", "@file-system", "@io-event", "@network-io", "@signal", "@process")
NO_PROCESS = (*CALLS[:-1], "wait4", "tgkill", "prctl")


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    with baked(tmp_path_factory.mktemp("zygote")) as made:
        yield made


def walls(**asked: Any) -> dict[str, Any]:
    """A request's `walls` with the least said."""
    return {
        "report": False, "gaps": [], "network": False, "tmp": False, "keep": [], "read_only": [],
        "landlock": None, "seccomp": "", "seccomp_words": "",
    } | asked  # fmt: skip


def filtered(
    chosen: tuple[str, ...] | None, only: tuple[str, ...] | None = None, **more: Any
) -> dict[str, Any]:
    program = base64.b64encode(seccomp.program(chosen, only)).decode()
    return walls(seccomp=program, seccomp_words="seccomp", **more)


TRY = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading
def tried(act):
    try:
        result = act()
    except OSError as error:
        return errno.errorcode[error.errno]
    if isinstance(result, int) and result < 0:
        return errno.errorcode[ctypes.get_errno()]
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def opens(path, how="r"):
    return tried(lambda: open(path, how).close())
def connects(port):
    with socket.socket() as one:
        return tried(lambda: one.connect(("127.0.0.1", port)))
def binds(port):
    with socket.socket() as one:
        return tried(lambda: one.bind(("127.0.0.1", port)))
"""


def attempt(
    manager: MiniManager, folder: Path, walls: dict[str, Any], code: str, **more: Any
) -> dict[str, Any]:
    """What a worker behind walls prints of what it tried: a dict of name -> "done" or an errno."""
    more.setdefault("no_new_privs", True)
    made = spawn(manager, folder, f"{TRY}\nprint(json.dumps({code}))", walls=walls, **more)
    found: dict[str, Any] = made.json()
    return found


# seccomp


def test_wall_seccomp_forbids_what_is_not_named(manager: MiniManager, tmp_path: Path) -> None:
    code = """{
        "exec": tried(lambda: os.execv("/bin/true", ["true"])),
        "fork": tried(os.fork),
        "ptrace": tried(lambda: libc.ptrace(16, os.getppid(), 0, 0)),
        "namespace": tried(lambda: libc.unshare(0x10000000)),
        "mount": tried(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        "thread": tried(lambda: threading.Thread(target=int).start()),
        "file": opens("mine", "w"),
        "socket": tried(lambda: socket.socket().close()),
        "newer": tried(lambda: libc.syscall(100_000)),
        "x32": tried(lambda: libc.syscall(0x40000000)),
    }"""
    found = spawn(
        manager, tmp_path, f"{TRY}\nprint(json.dumps({code}))", walls=filtered(NO_PROCESS),
        no_new_privs=True,
    )  # fmt: skip
    said = json.loads(found.lines[-1])
    allowed = {name for name, result in said.items() if result == "done"}
    assert allowed == {"thread", "file", "socket"}, said
    assert said["newer"] == "ENOSYS"
    assert {said[name] for name in ("exec", "fork", "ptrace", "namespace", "mount")} == {"EPERM"}
    assert found.report and found.report["walls"] == ["no new privileges", "seccomp"]


def test_wall_seccomp_that_allows_next_to_nothing(manager: MiniManager, tmp_path: Path) -> None:
    """It still comes up, and says so."""
    made = spawn(
        manager, tmp_path, "print(1)", walls=filtered(()), no_new_privs=True, capabilities=[]
    )
    assert made.report and made.report["up"], made.report
    assert made.report["walls"] == ["capabilities: none", "no new privileges", "seccomp"]


def test_wall_seccomp_processes_but_no_namespaces(manager: MiniManager, tmp_path: Path) -> None:
    code = """{
        "process": tried(lambda: subprocess.run(["/bin/true"], check=True) and 0),
        "namespace": tried(lambda: libc.unshare(0x10000000)),
        "by clone": tried(lambda: libc.syscall(CLONE, 0x10000000 | 17, 0, 0, 0, 0)),
    }""".replace("CLONE", str(NUMBERS[os.uname().machine]["clone"]))
    found = attempt(manager, tmp_path, filtered((*CALLS, "~unshare")), code)
    assert found == {"process": "done", "namespace": "EPERM", "by clone": "EPERM"}


def test_wall_address_families(manager: MiniManager, tmp_path: Path) -> None:
    code = """{
        "unix": tried(lambda: socket.socket(socket.AF_UNIX).close()),
        "pair": tried(lambda: [one.close() for one in socket.socketpair()] and 0),
        "inet": tried(lambda: socket.socket(socket.AF_INET).close()),
        "inet6": tried(lambda: socket.socket(socket.AF_INET6).close()),
        "packet": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "netlink": tried(lambda: socket.socket(socket.AF_NETLINK).close()),
        "shell": tried(lambda: subprocess.run(["/bin/true"], check=True) and 0),
    }"""
    found = attempt(manager, tmp_path, filtered(None, ("AF_UNIX", "AF_INET")), code)
    assert {name for name, result in found.items() if result == "done"} == {
        "unix", "pair", "inet", "shell",
    }  # fmt: skip
    assert found["packet"] == "EAFNOSUPPORT"


# landlock


@needs_landlock
def test_wall_landlock_files(manager: MiniManager, tmp_path: Path) -> None:
    inside, outside, readable = (tmp_path / name for name in ("in", "out", "read"))
    for folder in (inside, outside, readable):
        folder.mkdir()
        (folder / "file").write_text("x")
    code = f"""{{
        "write": opens("{inside}/new", "w"),
        "made": opens("{tmp_path}/made/new", "w"),
        "read": opens("{readable}/file"),
        "write what is read": opens("{readable}/file", "a"),
        "read outside": opens("{outside}/file"),
        "write outside": opens("{outside}/file", "w"),
        "secrets": opens("/etc/shadow"),
        "carry off": tried(lambda: os.rename("{inside}/file", "{outside}/gone")),
        "list": tried(lambda: len(os.listdir("{outside}"))),
        "exec": tried(lambda: os.execv("/bin/true", ["true"])),
        "null": opens(os.devnull, "w"),
        "late import": tried(lambda: __import__("colorsys") and 0),
        "proc": opens("/proc/self/status"),
        "memory of the zygote's": opens("/proc/{manager.process.pid}/mem"),
    }}"""
    asked = {"write": [str(inside), f"{tmp_path}/made/"], "read": [str(readable), "-/no/such"]}
    found = attempt(manager, tmp_path, walls(landlock=asked), code)
    done = {name for name, result in found.items() if result == "done"}
    assert done == {"write", "made", "read", "null", "late import", "proc"}, found


@needs_landlock
def test_wall_landlock_ports(manager: MiniManager, tmp_path: Path) -> None:
    if ABI < 4:
        pytest.skip("landlock knows no ports before Linux 6.7")
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [one.getsockname()[1], two.getsockname()[1], free_port()]
        code = f"[connects({ports[0]}), connects({ports[1]}), binds({ports[2]}), binds(0)]"
        asked = {"connect": [ports[0]], "bind": [ports[2]]}
        assert attempt(manager, tmp_path, walls(landlock=asked), code) == [
            "done", "EACCES", "done", "EACCES",
        ]  # fmt: skip
        none = {"connect": [], "write": []}
        assert attempt(manager, tmp_path, walls(landlock=none), code)[:1] == ["EACCES"]


@needs_landlock
def test_wall_landlock_siblings(manager: MiniManager, tmp_path: Path) -> None:
    """Neither traced, nor read, nor (6.12) signalled, though of the same uid."""
    sibling = tmp_path / "sibling"
    sibling.mkdir()
    sleeper = "import time; time.sleep(600)"
    with started(manager, sibling, sleeper, capabilities=[]) as victim:
        code = f"""{{
            "trace": tried(lambda: libc.ptrace(16, {victim.pid}, 0, 0)),
            "memory": opens("/proc/{victim.pid}/mem"),
            "environment": opens("/proc/{victim.pid}/environ"),
            "descriptor": opens("/proc/{victim.pid}/fd/1"),
            "signal": tried(lambda: os.kill({victim.pid}, signal.SIGUSR1)),
        }}"""
        calm = code.replace("SIGUSR1", "SIGCONT")
        free = attempt(manager, tmp_path, walls(), calm, capabilities=[])
        assert set(free.values()) == {"done"}, free
        # Without capabilities: CAP_PERFMON alone lets its owner read another's environment.
        asked = walls(landlock={"write": [str(sibling)]})
        found = attempt(manager, tmp_path, asked, code, capabilities=[])
        assert found.pop("signal") == ("EPERM" if ABI >= 6 else "done")
        assert set(found.values()) <= {"EPERM", "EACCES"}, found
        os.kill(victim.pid, signal.SIGKILL)
        _, status = os.waitpid(victim.pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


# Namespaces


def test_wall_network_tmp_and_read_only(manager: MiniManager, tmp_path: Path) -> None:
    kept, closed = tmp_path / "kept", tmp_path / "closed"
    kept.mkdir()
    closed.mkdir()
    asked = walls(network=True, tmp=True, keep=[str(tmp_path)], read_only=[str(closed)])
    mine = f"mine-{uuid.uuid4().hex}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""{{
            "inside": tried(lambda: socket.create_server(("127.0.0.1", 0)).close()),
            "outside": connects({port}),
            "interfaces": [name for _, name in socket.if_nameindex()],
            "tmp": sorted(os.listdir("/tmp")), "write tmp": opens("/tmp/{mine}", "w"),
            "kept": opens("{kept}/mine", "w"), "closed": opens("{closed}/mine", "w"),
            "status": [line.split()[1] for line in open("/proc/self/status")
                       if line.startswith(("CapEff", "CapPrm"))],
        }}"""
        made = spawn(manager, tmp_path, f"{TRY}\nprint(json.dumps({code}))", walls=asked)
        if not made.report or not made.report["up"]:
            assert made.report and made.report["step"] == "namespaces", made.report
            pytest.skip(f"no namespaces here: {made.report}")
    found = json.loads(made.output)
    assert found["interfaces"] == ["lo"]
    assert found["inside"] == found["write tmp"] == found["kept"] == "done", found
    assert (found["outside"], found["closed"]) == ("ECONNREFUSED", "EROFS")
    assert (kept / "mine").exists()
    assert not Path("/tmp", mine).exists()
    if tmp_path.is_relative_to("/tmp"):
        assert found["tmp"] == [tmp_path.relative_to("/tmp").parts[0]]


def test_wall_namespaces_without_privilege(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By a user namespace, in which nothing of the capabilities that it brings is left."""
    # Of root's own capabilities only what reads the interpreter, wherever that lies.
    some = "+dac_read_search"
    drop = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps", some,
            "--ambient-caps", some)  # fmt: skip
    log = tmp_path_factory.mktemp("zygote") / "zygote.log"
    if ROOT and not caps.read().permitted:
        pytest.skip("a root without capabilities cannot become a user")
    made = MiniManager(log, prefix=drop if ROOT else ())
    try:
        made.bake()
        code = """[[name for _, name in socket.if_nameindex()], os.getuid(), [line.split()[1]
            for line in open("/proc/self/status") if line.startswith("Cap")]]"""
        child = spawn(
            made, tmp_path, f"{TRY}\nprint(json.dumps({code}))",
            walls=walls(network=True, tmp=True, keep=[str(tmp_path)]), no_new_privs=True,
        )  # fmt: skip
    finally:
        made.close()
    if not child.report or not child.report["up"]:
        assert child.report and child.report["errno"] in (errno.EPERM, errno.ENOSPC)
        pytest.skip(f"users make no namespaces here: {child.report}")
    interfaces, uid, sets = child.json()
    assert (interfaces, uid) == (["lo"], 65534 if ROOT else os.getuid())
    assert [int(each, 16) for each in sets] == [0] * 5


# What cannot be had


@needs_landlock
def test_wall_that_fails_ends_the_worker_or_is_told(manager: MiniManager, tmp_path: Path) -> None:
    asked = walls(landlock={"read": ["/no/such"]})
    made = spawn(manager, tmp_path, "print(1)", walls=asked, no_new_privs=True)
    check_refused(made, "landlock", errno.ENOENT, "/no/such", "put a - before it")
    told = asked | {"report": True, "gaps": ["early"]}
    made = spawn(manager, tmp_path, "print(1)", walls=told, no_new_privs=True)
    assert made.json() == 1
    assert made.report
    assert made.report["gaps"] == ["early", "landlock: No such file or directory: /no/such"]


def test_wall_seccomp_program_that_is_none(manager: MiniManager, tmp_path: Path) -> None:
    asked = walls(seccomp=base64.b64encode(bytes(8)).decode(), seccomp_words="x")
    made = spawn(manager, tmp_path, "print(1)", walls=asked, no_new_privs=True)
    check_refused(made, "seccomp", errno.EINVAL, "", "no filters")


def check_refused(made: Made, step: str, number: int, detail: str, hint: str) -> None:
    assert made.status == REPORT_EXIT
    report = made.report
    assert report and not report["up"], report
    assert (report["step"], report["errno"]) == (step, number), report
    assert detail in report["detail"]
    assert hint in report["hint"]
