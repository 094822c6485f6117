"""Every step from the clone to the program: what it does, and how its failure is told."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import spawn, started, wait
from tests.support.forkserver import MiniManager, baked
from tests.support.programs import Bench, Program
from zygote.child.steps import STEPS
from zygote.sys import caps
from zygote.wire.messages import ORPHAN_EXIT, REPORT_EXIT

NOBODY = 65534
DESCRIPTORS = "sorted(n for n in map(int, os.listdir('/proc/self/fd')) if n < 200)"
"""Those of a worker; libffi's own lies above, where it has one."""
ROOT = os.getuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root may become somebody else")


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    with baked(tmp_path_factory.mktemp("zygote")) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that anybody may enter, up to the top."""
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == os.getuid() and not part.stat().st_mode & stat.S_IXOTH:
            part.chmod(part.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    return tmp_path


def prints(expression: str) -> str:
    """A program that prints an expression as JSON."""
    return f"import json, os, sys, signal, resource; print(json.dumps({expression}))"


def test_steps_have_a_fixed_order() -> None:
    """Also the documentation's order. Changing it needs a reason."""
    assert [step.name for step in STEPS] == [
        "cgroup", "unit", "session", "stdio", "fds", "signals", "umask", "cwd", "env", "argv",
        "main", "inherited", "rlimits", "nice", "oom_score_adj", "affinity", "unit_limits",
        "seeds", "title", "namespaces", "groups", "gid", "uid", "capabilities", "no_new_privs",
        "unit_rights", "record", "landlock", "seccomp", "report",
    ]  # fmt: skip
    assert all(step.does.endswith(".") for step in STEPS)


# What each step does


def test_step_session_is_new_or_a_group(manager: MiniManager, tmp_path: Path) -> None:
    code = prints("[os.getpid(), os.getsid(0), os.getpgrp()]")
    pid, session, group = spawn(manager, tmp_path, code, session="new").json()
    assert session == group == pid
    pid, session, group = spawn(manager, tmp_path, code, session="group").json()
    assert (session, group) == (os.getsid(manager.process.pid), pid)


def test_step_fds_leaves_stdio_only(manager: MiniManager, tmp_path: Path) -> None:
    code = prints(DESCRIPTORS)
    assert spawn(manager, tmp_path, code).json() == [0, 1, 2, 3]  # 3: the listing's own


def test_step_fds_hands_over_sockets(manager: MiniManager, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::", 0), family=10) as two,
    ):
        code = prints(
            f"[{DESCRIPTORS}] + "
            "[os.environ[n] for n in ('LISTEN_FDS', 'LISTEN_FDNAMES')] + "
            "[os.environ['LISTEN_PID'] == str(os.getpid())] + "
            "[__import__('socket').socket(fileno=n).getsockname()[1] for n in (3, 4)]"
        )
        made = spawn(
            manager, tmp_path, code, fds={"listen:web": one.fileno(), "listen:api": two.fileno()}
        )
        ports = [sock.getsockname()[1] for sock in (one, two)]
        assert made.json() == [[0, 1, 2, 3, 4, 5], "2", "web:api", True, *ports]


def test_step_stdio_may_be_closed(manager: MiniManager, tmp_path: Path) -> None:
    code = "import sys; open('seen', 'w').write(repr((sys.stdin, sys.stdout, sys.__stdout__)))"
    roles = ["ignored", "ignored", "stderr", "report"]
    made = spawn(manager, tmp_path, code, roles=roles)
    assert made.status == REPORT_EXIT  # a role that nobody knows is no closed descriptor
    bench = Bench(tmp_path, manager)
    assert wait(bench.start(Program(["-c", code]), [-1, -1, -1])) == 0
    assert (tmp_path / "seen").read_text() == "(None, None, None)"


def test_step_umask(manager: MiniManager, tmp_path: Path) -> None:
    assert spawn(manager, tmp_path, prints("os.umask(0)"), umask=0o027).json() == 0o027


def test_step_env_is_replaced_as_a_whole(manager: MiniManager, tmp_path: Path) -> None:
    env = {"ONE": "1", "NOT_UTF8": "\udcff", "LANG": "C.UTF-8"}
    code = prints("[dict(os.environ), os.popen('echo $ONE$PATH_THAT_IS_NOT').read()]")
    assert spawn(manager, tmp_path, code, env=env).json() == [env, "1\n"]


def test_step_main_path0_as_asked(manager: MiniManager, tmp_path: Path) -> None:
    assert spawn(manager, tmp_path, prints("sys.path[0]"), path0="/asked").json() == "/asked"


def test_step_rlimits(manager: MiniManager, tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = prints(
        "[resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)]"
    )
    limits = {"nofile": [100, hard], "core": [0, 0]}
    assert spawn(manager, tmp_path, code, rlimits=limits).json() == [[100, hard], [0, 0]]


def test_step_nice_oom_affinity(manager: MiniManager, tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    code = prints(
        "[os.nice(0), open('/proc/self/oom_score_adj').read(), list(os.sched_getaffinity(0))]"
    )
    made = spawn(manager, tmp_path, code, nice=7, oom_score_adj=500, affinity=[cpu])
    assert made.json() == [7, "500\n", [cpu]]


def test_step_title(manager: MiniManager, tmp_path: Path) -> None:
    code = prints("[open(f'/proc/self/{n}').read() for n in ('cmdline', 'comm')]")
    line, name = spawn(manager, tmp_path, code, title="fleet: worker", worker="profiler").json()
    assert (line.rstrip("\0"), name) == ("fleet: worker", "profiler\n")


def test_step_seeds_differ(manager: MiniManager, tmp_path: Path) -> None:
    code = prints(
        "[__import__('random').random(), __import__('uuid').uuid4().hex, "
        "__import__('multiprocessing').current_process().authkey.hex()]"
    )
    one, two = (spawn(manager, tmp_path, code).json() for _ in range(2))
    assert not set(one) & set(two)


def test_step_record_comes_before_up(manager: MiniManager, tmp_path: Path) -> None:
    with (tmp_path / "record").open("wb") as record:
        made = spawn(
            manager,
            tmp_path,
            prints("open('/proc/self/stat').read().rpartition(')')[2].split()[19]"),
            fds={"record": record.fileno()},
            spawn_id="ab" * 16,
        )
    assert (tmp_path / "record").read_text() == f"{made.pid} {made.json()} {'ab' * 16}\n"
    assert made.report and made.report["pid"] == made.pid


def test_step_report_nobody_hears_no_program_runs(manager: MiniManager, tmp_path: Path) -> None:
    made = spawn(manager, tmp_path, "open('ran', 'w')", hears=False)
    assert made.status == ORPHAN_EXIT
    assert not (tmp_path / "ran").exists()


@as_root
def test_step_identity_is_given_up_for_good(manager: MiniManager, folder: Path) -> None:
    code = prints(
        "[os.getresuid(), os.getresgid(), os.getgroups(), [line.split()[1] for line in "
        "open('/proc/self/status') if line.startswith(('Cap', 'NoNew'))], "
        "open('/proc/self/environ').name]"
    )
    made = spawn(manager, folder, code, uid=NOBODY, gid=NOBODY, groups=[1, 2], no_new_privs=True)
    uids, gids, groups, status, _ = made.json()
    assert (uids, gids, groups) == ([NOBODY] * 3, [NOBODY] * 3, [1, 2])
    assert [int(word, 16) for word in status[:3]] == [0, 0, 0]
    assert status[-1] == "1"


@as_root
def test_step_capabilities_survive_the_user_and_an_exec(manager: MiniManager, folder: Path) -> None:
    raw = caps.NUMBERS["CAP_NET_RAW"]
    if not caps.read().permitted >> raw & 1:
        pytest.skip("this root has no CAP_NET_RAW")
    code = (
        "import socket, os; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()\n"
        "os.execvp('grep', ['grep', 'Cap', '/proc/self/status'])"
    )
    made = spawn(manager, folder, code, uid=NOBODY, gid=NOBODY, groups=[], capabilities=[raw])
    assert made.report and made.report["up"], made.report
    assert [int(line.split()[1], 16) for line in made.lines] == [1 << raw] * 5


@as_root
def test_step_capabilities_none_for_root(manager: MiniManager, tmp_path: Path) -> None:
    made = spawn(
        manager, tmp_path, prints("os.system('grep Cap /proc/self/status')"), capabilities=[]
    )
    assert [int(line.split()[1], 16) for line in made.lines[:5]] == [0] * 5


# How a failure is told

BAD: dict[str, tuple[dict[str, Any], str, int, str, str]] = {
    # case: request, step, errno, part of the detail, part of the hint
    "cwd-missing": ({"cwd": "/no/such"}, "cwd", errno.ENOENT, "/no/such", "make the folder"),
    "cwd-file": ({"cwd": "/etc/passwd"}, "cwd", errno.ENOTDIR, "/etc/passwd", "must be a folder"),
    "session": ({"session": "old"}, "session", errno.EINVAL, "old", ""),
    "umask": ({"umask": 0o1000}, "umask", errno.EINVAL, "0o1000", "octal"),
    "umask-text": ({"umask": "022"}, "umask", errno.EINVAL, "TypeError", "octal"),
    "env-name": ({"env": {"A=B": "c"}}, "env", errno.EINVAL, "", "variable"),
    "env-null": ({"env": {"A": "b\0c"}}, "env", errno.EINVAL, "null byte", "variable"),
    "env-encoding": (
        {"env": {"PYTHONIOENCODING": "no-such"}}, "env", errno.EINVAL, "no-such", "variable",
    ),
    "rlimit-name": ({"rlimits": {"files": [1, 1]}}, "rlimits", errno.EINVAL, "files", "getrlimit"),
    "rlimit-order": ({"rlimits": {"nofile": [9, 5]}}, "rlimits", errno.EINVAL, "nofile", "soft"),
    "affinity": ({"affinity": [1000]}, "affinity", errno.EINVAL, "1000", "none of these CPUs"),
    "affinity-none": ({"affinity": []}, "affinity", errno.EINVAL, "", "none of these CPUs"),
    "affinity-negative": ({"affinity": [-1]}, "affinity", errno.EINVAL, "-1", "none of these"),
    "oom": ({"oom_score_adj": 5000}, "oom_score_adj", errno.EINVAL, "5000", "-1000 to 1000"),
}  # fmt: skip
UNPRIVILEGED: dict[str, tuple[dict[str, Any], str, int, str, str]] = {
    "rlimit-above": (
        {"rlimits": {"core": [9, 9]}}, "rlimits", errno.EPERM, "core", "manager's own hard limit",
    ),
    "nice": ({"nice": -5}, "nice", errno.EACCES, "-5", "CAP_SYS_NICE"),
    "oom-below": ({"oom_score_adj": -5}, "oom_score_adj", errno.EACCES, "-5", "CAP_SYS_RESOURCE"),
    "groups": ({"groups": [1]}, "groups", errno.EPERM, "groups 1", "CAP_SETGID"),
    "gid": ({"gid": 1}, "gid", errno.EPERM, "gid 1", "drop group="),
    "uid": ({"uid": 1}, "uid", errno.EPERM, "uid 1", "drop user="),
    "capabilities": ({"capabilities": [13]}, "capabilities", errno.EPERM, "CAP_NET_RAW", "as root"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_step_failure_is_reported(manager: MiniManager, tmp_path: Path, case: str) -> None:
    check_failure(manager, tmp_path, BAD[case])


@pytest.mark.parametrize("case", UNPRIVILEGED)
def test_step_failure_without_privileges_is_reported(
    unprivileged: MiniManager, folder: Path, case: str
) -> None:
    check_failure(unprivileged, folder, UNPRIVILEGED[case])


def check_failure(
    manager: MiniManager, folder: Path, case: tuple[dict[str, Any], str, int, str, str]
) -> None:
    request, step, number, detail, hint = case
    made = spawn(manager, folder, "open('ran', 'w')", **request)
    assert made.report is not None
    assert made.status == REPORT_EXIT
    assert not made.report["up"]
    assert (made.report["step"], made.report["errno"]) == (step, number)
    assert detail in made.report["detail"]
    assert hint in made.report["hint"]
    assert not (folder / "ran").exists()


@pytest.fixture(scope="module")
def unprivileged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    """A zygote without privileges: of a user, or of a root without capabilities."""
    drop = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if ROOT else ()
    made = MiniManager(
        tmp_path_factory.mktemp("zygote") / "zygote.log", prefix=("prlimit", "--core=0:0", *drop)
    )
    try:
        made.bake()
        yield made
    finally:
        made.close()


def test_step_stdio_failure_is_reported(manager: MiniManager, tmp_path: Path) -> None:
    """The limit on descriptors is below what the worker is handed."""
    reading = os.open(os.devnull, os.O_RDONLY)
    try:
        made = spawn(manager, tmp_path, fds={"cgroup.procs": reading})
    finally:
        os.close(reading)
    assert made.report and (made.report["step"], made.report["errno"]) == ("cgroup", errno.EBADF)


def test_step_record_failure_is_reported(manager: MiniManager, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        made = spawn(manager, tmp_path, "open('ran', 'w')", fds={"record": full.fileno()})
    assert made.report and (made.report["step"], made.report["errno"]) == ("record", errno.ENOSPC)
    assert "disk" in made.report["hint"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": {"kind": "magic", "target": "x"}}, "magic"),
        ({"run": {}}, "kind"),
        ({"surprise": 1}, "surprise"),
        ({"roles": ["stdin", "stdout", "stderr", "report", "record"]}, "4 fds"),
        ({"roles": ["stdin", "stdout", "telex", "report"]}, "telex"),
    ],
    ids=["kind", "no-kind", "unknown-key", "fds-missing", "fds-unknown"],
)
def test_step_request_failure_is_reported(
    manager: MiniManager, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    made = spawn(manager, tmp_path, **change)
    assert made.report and made.report["step"] == "request"
    assert said in made.report["detail"]
    assert "different versions" in made.report["hint"]
    assert made.status == REPORT_EXIT


def test_step_failure_ends_in_time_for_the_report(manager: MiniManager, tmp_path: Path) -> None:
    """A child whose set-up failed has no program's output, and one report."""
    with started(manager, tmp_path, cwd="/no/such") as made:
        assert made.report and made.report["step"] == "cwd"
