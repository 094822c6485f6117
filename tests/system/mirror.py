"""What a process finds itself to be: the same code cold and as a clone, to be compared."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

from zygote import notify

_libc = ctypes.CDLL(None, use_errno=True)
_STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
           "Seccomp", "Seccomp_filters", "Umask", "SigIgn")  # fmt: skip
_OWN = ("LISTEN_PID", "SYSTEMD_EXEC_PID", "INVOCATION_ID", "ZYGOTE_WORKER", "LC_CTYPE", "TARGET",
        "ZYGOTE_MANAGER", "ZYGOTE_RUNTIME_DIR",
        "WATCHDOG_PID", "JOURNAL_STREAM", "ZYGOTE_DOOR", "CREDENTIALS_DIRECTORY",
        "RUNTIME_DIRECTORY", "STATE_DIRECTORY")  # fmt: skip
"""Variables that differ from unit to unit, or are told by others."""


def attempt(what: str, act: Any) -> str:
    """What came of a forbidden act."""
    try:
        return f"{what}: {act()}"
    except OSError as error:
        return f"{what}: errno {error.errno}"


def listening() -> list[Any]:
    """The sockets that we were given, if it is us whom they were given to."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ["LISTEN_FDNAMES"].split(":")
    count = int(os.environ["LISTEN_FDS"])
    return [names, [socket.socket(fileno=os.dup(3 + at)).getsockname() for at in range(count)]]


def look() -> dict[str, Any]:
    """All of it, comparable."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    names = [
        name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
    ]
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return {
        "status": {key: status[key].split() for key in _STATUS if key in status},
        "rlimits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "policy": (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority),
        "ioprio": _libc.syscall(252 if os.uname().machine == "x86_64" else 31, 1, 0),
        "timerslack": _libc.prctl(30, 0, 0, 0, 0),
        "securebits": _libc.prctl(27, 0, 0, 0, 0),
        "personality": _libc.personality(0xFFFFFFFF),
        "coredump_filter": Path("/proc/self/coredump_filter").read_text(),
        "cwd": str(Path.cwd()),
        "env": {k: v for k, v in sorted(os.environ.items()) if k not in _OWN},
        "interfaces": attempt("interfaces", lambda: [name for _, name in socket.if_nameindex()]),
        "hostname": socket.gethostname(),
        "tmp": sorted(path.name for path in Path("/tmp").iterdir() if path.name != "mirror"),
        "stdio": [stat.S_IFMT(os.fstat(number).st_mode) for number in (0, 1, 2)],
        "listen": listening(),
        "secret": Path(folder, "secret").read_text() if folder else None,
        "tries": [] if os.environ.get("MIRROR_HARMLESS") else [
            attempt("write /usr", lambda: Path("/usr/.try").write_text("")),
            attempt("write /etc", lambda: Path("/etc/.try").write_text("")),
            attempt("list /root", lambda: len(os.listdir("/root")) > 0),  # noqa: PTH208
            attempt("list /var/lib/dpkg", lambda: bool(os.listdir("/var/lib/dpkg"))),  # noqa: PTH208
            attempt("set the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
            attempt("write /proc/sys", lambda: Path("/proc/sys/vm/swappiness").write_text("60")),
            attempt("raw socket", lambda: socket.socket(2, socket.SOCK_RAW, 1).close()),
            attempt("packet socket", lambda: socket.socket(socket.AF_PACKET).close()),
            attempt("new namespace", lambda: _unshare()),
            attempt("cgroup", _make_group),
            attempt("device", lambda: Path("/dev/kmsg").stat().st_mode > 0),
            attempt("open a device", lambda: open("/dev/kmsg").close()),
            attempt("connect", lambda: socket.create_connection(("127.0.0.1", 1), 5)),
            attempt("root", lambda: sorted(os.listdir("/"))),  # noqa: PTH208
            attempt("personality", lambda: _libc.personality(8)),
            attempt("bound", lambda: Path("/srv/bound/here").read_text()),
        ],
    }  # fmt: skip


def _unshare() -> int:
    if _libc.unshare(0x08000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return 0


def _make_group() -> None:
    path = Path("/sys/fs/cgroup/x-try")
    path.mkdir()
    path.rmdir()  # or the next who tries finds it there


def main() -> None:
    """Write what we are to $TARGET's stdout, one line; be ready; wait."""
    print("mirror " + json.dumps(look()), flush=True)
    notify.ready()
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
