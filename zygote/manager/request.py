"""What a Spawn says: everything resolved by the manager, so that the child looks nothing up.

See `zygote.wire.messages` for the keys. Names of users, groups and capabilities become numbers
here, before anything is started: the child may not read /etc/passwd once it is confined, and a
name that does not exist must not cost a process.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec, ZygoteSpec
from zygote.manager import credentials, walls
from zygote.sys import caps

_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
                  "LISTEN_FDNAMES", "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM",
                  "ZYGOTE_RUNTIME_DIR", credentials.VARIABLE)  # fmt: skip
"""What our own supervisor told us, and is not meant for those we start."""


@dataclass(frozen=True, slots=True)
class House:
    """What is the same for all workers of this manager.

    Attributes:
        env: the environment that workers add to.
        notify_socket: where workers may speak.
    """

    fleet: str
    runtime_dir: str
    notify_socket: str
    env: Mapping[str, str]


def base_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The manager's environment without what is meant for the manager alone."""
    return {name: value for name, value in environ.items() if name not in _NOT_INHERITED}


def worker_body(
    spec: WorkerSpec, house: House, spawn_id: bytes, roles: list[str], journal: str = ""
) -> dict[str, Any]:
    """The body of a worker's Spawn.

    Args:
        roles: what each passed fd is, in order.
        journal: JOURNAL_STREAM, if its output is a stream to journald.
    Raises:
        ZygoteError: a user, group or capability that does not exist here.
    """
    gaps: list[str] = []
    uid, gid, groups, identity_env = resolve_identity(spec, gaps)
    return {
        "worker": spec.name,
        "run": {"kind": spec.run.kind, "target": spec.run.target},
        "args": list(spec.args),
        "path0": None,
        "env": {
            **house.env,
            **identity_env,
            **spec.env,
            **_own_env(spec, house, spawn_id),
            **({"JOURNAL_STREAM": journal} if journal else {}),
        },
        "cwd": spec.cwd,
        "umask": spec.umask,
        "session": "new",
        "fds": roles,
        "rlimits": {name: list(pair) for name, pair in spec.rlimits.items()},
        "nice": spec.nice,
        "oom_score_adj": spec.oom_score_adj,
        "affinity": list(spec.cpu_affinity) if spec.cpu_affinity is not None else None,
        "uid": uid,
        "gid": gid,
        "groups": groups,
        "capabilities": _capabilities(spec),
        "no_new_privs": walls.needs_no_new_privs(spec),
        "walls": walls.body(spec, house.runtime_dir, gaps),
        "title": spec.title or f"{house.fleet}: {spec.name}",
        "spawn_id": spawn_id.hex(),
    }


def program_body(
    *, name: str, kind: str, target: str, args: list[str], env: dict[str, str], cwd: str,
    umask: int, spawn_id: bytes, roles: list[str],
) -> dict[str, Any]:  # fmt: skip
    """The body of a Spawn for `zygotectl run`: the caller's own environment, nothing confined."""
    return {
        "worker": name,
        "run": {"kind": kind, "target": target},
        "args": args,
        "env": env,
        "cwd": cwd,
        "umask": umask,
        "session": "group",
        "fds": roles,
        "spawn_id": spawn_id.hex(),
    }


def person(spec: ZygoteSpec) -> dict[str, Any] | None:
    """Who a zygote is to import as, beside who we are; None: as who we are.

    Raises:
        ZygoteError: no such user on this machine.
    """
    if not spec.user:
        return None
    entry = _user(spec, spec.user)
    return {
        "uid": entry.pw_uid,
        "gid": entry.pw_gid,
        "groups": os.getgrouplist(entry.pw_name, entry.pw_gid),
        "managers": [os.geteuid(), os.getegid(), os.getgroups()],
    }


def resolve_identity(
    spec: WorkerSpec, gaps: list[str] | None = None
) -> tuple[int | None, int | None, list[int] | None, dict[str, str]]:
    """uid, gid, supplementary groups and the variables that tell of them; None: as the manager.

    Args:
        gaps: with `walls = "report"` what does not exist is noted here and left out.
    Raises:
        ZygoteError: step "user" or "group": no such one on this machine.
    """
    try:
        return _resolve_identity(spec)
    except ZygoteError as error:
        if spec.walls != "report":
            raise
        if gaps is not None:
            gaps.append(f"{error.step}: {error.message}")
        return None, None, None, {}


def _resolve_identity(
    spec: WorkerSpec,
) -> tuple[int | None, int | None, list[int] | None, dict[str, str]]:
    uid = gid = None
    groups: list[int] | None = None
    env: dict[str, str] = {}
    if spec.user is not None:
        entry = _user(spec, spec.user)
        uid, gid = entry.pw_uid, entry.pw_gid
        groups = os.getgrouplist(entry.pw_name, gid)
        env = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    if spec.group is not None:
        gid = _group(spec, spec.group)
    if spec.groups is not None:
        groups = [_group(spec, name) for name in spec.groups]
    return uid, gid, groups, env


def _user(spec: WorkerSpec | ZygoteSpec, name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise _no_such(spec, "user", name, "useradd --system") from None


def _group(spec: WorkerSpec, name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _no_such(spec, "group", name, "groupadd --system") from None


def _no_such(spec: WorkerSpec | ZygoteSpec, what: str, name: str, remedy: str) -> ZygoteError:
    return ZygoteError(
        f"no {what} '{name}' on this machine",
        code=f"no-such-{what}",
        step=what,
        hint=f"make it ({remedy} {name}), or change {what}= of '{spec.name}'",
        place=spec.place,
    )


def _capabilities(spec: WorkerSpec) -> list[int] | None:
    if spec.capabilities is None:
        return None
    try:
        return sorted(caps.NUMBERS[name] for name in spec.capabilities)
    except KeyError as error:
        raise ZygoteError(
            f"no capability {error.args[0]}",
            code="no-such-capability",
            step="capabilities",
            hint="see capabilities(7) for their names",
            place=spec.place,
        ) from None


def _own_env(spec: WorkerSpec, house: House, spawn_id: bytes) -> dict[str, str]:
    env = {
        "ZYGOTE_WORKER": spec.name,
        "ZYGOTE_SPAWN_ID": spawn_id.hex(),
        "ZYGOTE_RUNTIME_DIR": house.runtime_dir,
    }
    if spec.type == "notify" or spec.watchdog:
        env["NOTIFY_SOCKET"] = house.notify_socket
    if place := credentials.folder(spec, house.runtime_dir):
        env[credentials.VARIABLE] = place
    if spec.watchdog:
        env["WATCHDOG_USEC"] = str(round(spec.watchdog * 1e6))
    return env
