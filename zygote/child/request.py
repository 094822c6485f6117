"""What this process is to become, as the manager's request says it.

The keys are documented in `zygote.wire.messages`. Fields that are None leave that part of the
process as the zygote has it.
"""

# ruff: noqa: PTH118
# Names are strings here, as `python` has them; path objects would be paid by each worker.

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

STDIO = ("stdin", "stdout", "stderr")
managers: tuple[int, int, tuple[int, ...]] | None = None
"""uid, gid, groups of the manager, where the zygote is somebody else: see `forkserver.person`."""


@dataclass(slots=True)
class Request:
    """One request, with its descriptors sorted by what they are for; -1: there is none.

    Attributes:
        stdio: descriptors to become 0, 1 and 2.
        listen: (name, descriptor) of sockets handed over, in order.
        credentials: descriptors of credentials, in order.
        report: where to say "up", or which step failed.
        record: file to write pid and start time to.
        began: time.monotonic() of the first line of its set-up.
        mold: where it may be asked to become a mold.
        procs: `cgroup.procs` of the leaf to move to, where the clone could not start in it.
        unit: what a process in a unit of systemd has, whose place this one takes; see `unit`.
        pidfd: of that process.
        script: absolute path of the file to run; "" for other kinds.
        folder: `script` is a folder or an archive with a `__main__.py` in it.
        walls: see `zygote.wire.messages`, and `stands` and `gaps`: what came of it.
        kept: what the zygote's was and must not be freed: a list of the worker's own, so that no
            page of the floor is written for it.
        argv0: the first of `sys.argv`, as before the program's own first line.
    """

    worker: str
    kind: str
    target: str
    args: list[str]
    path0: str | None
    env: dict[str, str]
    cwd: str
    umask: int
    session: str
    rlimits: dict[str, list[int]]
    nice: int | None
    oom_score_adj: int | None
    affinity: list[int] | None
    uid: int | None
    gid: int | None
    groups: list[int] | None
    capabilities: list[int] | None
    no_new_privs: bool
    title: str
    spawn_id: str
    walls: dict[str, Any] | None = None
    unit: dict[str, Any] | None = None
    stdio: list[int] = field(default_factory=lambda: [-1, -1, -1])
    listen: list[tuple[str, int]] = field(default_factory=list)
    credentials: list[int] = field(default_factory=list)
    report: int = -1
    record: int = -1
    procs: int = -1
    pidfd: int = -1
    mold: int = -1
    began: float = 0.0
    script: str = ""
    folder: bool = False
    kept: list[Any] = field(default_factory=list)

    @property
    def argv0(self) -> str:
        return {"module": "-m", "command": "-c"}.get(self.kind, self.target)

    @property
    def command_line(self) -> list[str]:
        """The command that this program would be under `python`."""
        option = {"module": ["-m"], "command": ["-c"]}.get(self.kind, [])
        return [sys.executable, *option, self.target, *self.args]


_DEFAULTS: dict[str, Any] = {
    "args": [],
    "path0": None,
    "session": "new",
    "rlimits": {},
    "nice": None,
    "oom_score_adj": None,
    "affinity": None,
    "uid": None,
    "gid": None,
    "groups": None,
    "capabilities": None,
    "no_new_privs": False,
    "title": "",
    "umask": 0o022,
}
_KINDS = ("module", "function", "file", "command")


def parse(body: bytes, fds: tuple[int, ...], spawn_id: bytes) -> Request:
    """Read a request.

    Raises:
        ValueError: it makes no sense; nothing was done with the fds.
    """
    try:
        parts: dict[str, Any] = _DEFAULTS | json.loads(body)
        roles = parts.pop("fds", [])
        run = parts.pop("run")
        parts.setdefault("spawn_id", spawn_id.hex())
        request = Request(kind=run["kind"], target=run["target"], **parts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no such request: {error}") from None
    if request.kind not in _KINDS:
        raise ValueError(f"no kind of program {request.kind!r}")
    if len(roles) != len(fds):
        raise ValueError(f"{len(fds)} fds came, for the roles {', '.join(roles) or '(none)'}")
    _sort(request, roles, fds)
    if request.walls is not None:
        request.walls["stands"] = []
    if managers is not None:
        _as_the_manager(request, *managers)
    if request.kind == "file":
        request.script = os.path.join(request.cwd, request.target)
    return request


def _as_the_manager(request: Request, uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """Who names no user is who the manager is, and not who the zygote is."""
    if request.uid is None:
        request.uid = uid
        request.gid = gid if request.gid is None else request.gid
        request.groups = list(groups) if request.groups is None else request.groups
    if request.uid and request.capabilities is None:
        request.capabilities = []  # what an exec, or a change from root, would have left


def find_report(body: bytes, fds: tuple[int, ...]) -> int:
    """The report's descriptor in a request that cannot be read otherwise, or -1."""
    try:
        index: int = json.loads(body)["fds"].index("report")
        return fds[index]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return -1


def _sort(request: Request, roles: list[str], fds: tuple[int, ...]) -> None:
    for role, descriptor in zip(roles, fds, strict=True):
        kind, _, name = role.partition(":")
        if role in STDIO:
            request.stdio[STDIO.index(role)] = descriptor
        elif kind == "listen":
            request.listen.append((name, descriptor))
        elif kind == "credential":
            request.credentials.append(descriptor)
        elif role == "report":
            request.report = descriptor
        elif role == "record":
            request.record = descriptor
        elif role == "unit":
            request.pidfd = descriptor
        elif role == "mold":
            request.mold = descriptor
        elif role == "cgroup.procs":
            request.procs = descriptor
        elif role != "cgroup":  # that one was for the clone alone
            raise ValueError(f"a descriptor for {role!r}")
