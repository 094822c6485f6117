"""The doorkeeper of a zygote that is a unit: lets in who stands in a worker's unit.

One thread, blocking: bakes the zygote, then takes one caller after the other. A caller (`exec`) is
a process that systemd made for a worker's unit. The kernel says who it is (SO_PEERCRED), in which
cgroup, and with what rights; the caller itself only brings its descriptors and environment. What
it may be is what it is, so nobody gains anything by calling. Whose cgroup is not a worker's unit
beside ours is turned away.
"""

from __future__ import annotations

import array
import json
import os
import re
import socket
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from zygote import notify
from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet, WorkerSpec, ZygoteSpec, instantiate
from zygote.manager import walls
from zygote.service import context
from zygote.sys.stderr import say
from zygote.wire.messages import FLAG_CGROUP, HEADER, MAX_FDS, Kind, Packet, decode, encode

CALL_MAX = 1 << 20
NOT_INHERITED = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"),
    *("LISTEN_FDNAMES", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"),
)
_UCRED = struct.Struct("=iII")


class Call(NamedTuple):
    """What a caller brings: 0, 1, 2 and its sockets; and {"worker", "env", "listen": names,
    "securebits"}. The last is in no file of /proc; they only ever take away.
    """

    body: dict[str, Any]
    fds: tuple[int, ...]


class Door:
    """Between callers and one zygote.

    Args:
        link: to the zygote, not baked yet; owned, as `listener` is.
    """

    def __init__(
        self, fleet: Fleet, spec: ZygoteSpec, link: socket.socket, listener: socket.socket
    ) -> None:
        self._fleet, self._spec = fleet, spec
        self._link, self._listener = link, listener
        self._runtime = fleet.runtime_dir or f"/run/zygote/{fleet.name}"
        self._home = context.cgroup_of(os.getpid()).parent

    def keep(self) -> None:
        """Bake, and let callers in until the zygote is gone; then ends this process."""
        self._bake()
        while True:
            caller, _ = self._listener.accept()
            with caller:
                # One that stops half-way must not keep the others waiting.
                caller.settimeout(10.0)
                self._answer(caller)

    def _bake(self) -> None:
        body = json.dumps({"spec": asdict(self._spec)}).encode()
        self._link.sendall(encode(Packet(Kind.BAKE, body=body)))
        while True:
            packet = self._receive()
            parts = json.loads(packet.body or b"{}")
            for descriptor in packet.fds:
                os.close(descriptor)
            if packet.kind is Kind.PROGRESS:
                notify.status(f"{parts.get('stage', '')} {parts.get('detail', '')}")
            elif packet.kind is Kind.BAKED:
                notify.ready(f"baked: {parts.get('modules', 0)} modules")
                return
            elif packet.kind is Kind.BAKE_FAILED:
                say(f"zygote: {ZygoteError.from_dict(parts)}")
                os._exit(1)

    def _answer(self, caller: socket.socket) -> None:
        opened: list[int] = []
        try:
            answer = self._serve(caller, opened)
        except ZygoteError as error:
            answer = {"error": error.as_dict()}
        except (OSError, ValueError, KeyError) as error:
            fault = ZygoteError(f"cannot start it: {error!r}", code="exec-fault")
            answer = {"error": fault.as_dict()}
        finally:
            for descriptor in opened:
                os.close(descriptor)
        try:
            caller.sendall(json.dumps(answer).encode())
        except OSError:
            pass  # it left; its clone is in its cgroup, which systemd clears

    def _serve(self, caller: socket.socket, opened: list[int]) -> dict[str, Any]:
        raw = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _ = _UCRED.unpack(raw)
        pidfd = os.pidfd_open(pid)
        opened.append(pidfd)
        call = _receive_call(caller, opened)
        group = context.cgroup_of(pid)
        self._check_unit(group, uid)
        spec = self._worker(str(call.body["worker"]))
        unit = {**context.read(pid), "securebits": int(call.body["securebits"])}
        walls.make_folders(spec, self._runtime, unit["uid"][1], unit["gid"][1])
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine:
            with theirs:
                self._spawn(spec, call, unit, group, (pidfd, theirs.fileno()), opened)
                made = self._receive()
                for descriptor in made.fds:
                    os.close(descriptor)
            if made.kind is not Kind.SPAWNED:
                parts = json.loads(made.body or b"{}")
                raise _failed(spec.name, parts)
            mine.settimeout(60.0)
            report = json.loads(mine.recv(65536) or b"{}")
        if not report.get("up"):
            raise _failed(spec.name, report)
        return {"pid": made.pid, "ready": spec.type == "simple"}

    def _spawn(
        self,
        spec: WorkerSpec,
        call: Call,
        unit: dict[str, Any],
        group: Path,
        own: tuple[int, int],
        opened: list[int],
    ) -> None:
        leaf = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.append(leaf)
        pidfd, report = own
        listen = [f"listen:{name}" for name in call.body.get("listen", ())]
        roles = ["cgroup", "stdin", "stdout", "stderr", *listen, "report", "unit"]
        fds = (leaf, *call.fds, report, pidfd)
        parts = _body(spec, self._fleet, call.body["env"], unit, roles)
        parts["walls"] = _walls(spec, self._runtime)
        body = json.dumps(parts).encode()
        packet = Packet(Kind.SPAWN, os.urandom(16), 0, FLAG_CGROUP, body, fds)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        self._link.sendmsg([encode(packet)], rights)

    def _check_unit(self, group: Path, uid: int) -> None:
        """Its unit stands beside ours: only root makes those."""
        if group.parent == self._home and re.fullmatch(r".+-worker@.+\.service", group.name):
            return
        raise ZygoteError(
            f"uid {uid} calls from {group}, which is no unit of a worker of this fleet",
            code="not-allowed",
            hint=f"systemctl start {self._fleet.name}-worker@NAME",
        )

    def _worker(self, name: str) -> WorkerSpec:
        stem, at, instance = name.partition("@")
        spec = self._fleet.workers.get(name)
        if spec is None and at and instance and stem + at in self._fleet.templates:
            spec = instantiate(self._fleet.templates[stem + at], instance)
        if spec is None:
            raise ZygoteError(
                f"the fleet has no worker '{name}'",
                code="no-such-worker",
                hint="after a change of the fleet file: install again, and restart the zygote",
            )
        return spec

    def _receive(self) -> Packet:
        room = socket.CMSG_SPACE(4 * MAX_FDS)
        data, ancillary, _, _ = self._link.recvmsg(CALL_MAX + HEADER.size, room)
        if not data:
            os._exit(1)  # the zygote is gone, and systemd starts both anew
        return decode(data, _descriptors(ancillary))


def _body(
    spec: WorkerSpec, fleet: Fleet, env: dict[str, str], unit: dict[str, Any], roles: list[str]
) -> dict[str, Any]:
    """A Spawn's: the program is the fleet file's, all else is the unit's."""
    return {
        "worker": spec.name,
        "run": {"kind": spec.run.kind, "target": spec.run.target},
        "args": list(spec.args),
        "env": {
            **env,
            **spec.env,
            "ZYGOTE_WORKER": spec.name,
            "ZYGOTE_MANAGER": "none",
            "ZYGOTE_RUNTIME_DIR": fleet.runtime_dir or f"/run/zygote/{fleet.name}",
        },
        "cwd": unit["cwd"],
        "umask": unit["umask"],
        "session": "new",
        "fds": roles,
        "title": spec.title or f"{fleet.name}: {spec.name}",
        "spawn_id": os.urandom(16).hex(),
        "unit": unit,
    }


def _walls(spec: WorkerSpec, runtime: str) -> dict[str, Any] | None:
    """Those that the clone puts up itself; the unit has the others already."""
    own = replace(
        spec, user=None, capabilities=None, no_new_privs=False, private_network=False,
        private_tmp=False, read_only_paths=(),
    )  # fmt: skip
    return walls.body(own, runtime, ())


def _receive_call(caller: socket.socket, opened: list[int]) -> Call:
    room = socket.CMSG_SPACE(4 * MAX_FDS)
    data, ancillary, flags, _ = caller.recvmsg(CALL_MAX, room, socket.MSG_CMSG_CLOEXEC)
    fds = _descriptors(ancillary)
    opened += fds
    body = json.loads(data)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) != 3 + len(body["listen"]):
        raise ValueError("the call was cut off")
    return Call(body, fds)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return tuple(fds)


def _failed(name: str, parts: dict[str, Any]) -> ZygoteError:
    number = int(parts.get("errno", 0))
    step = str(parts.get("step", "start"))
    detail = str(parts.get("detail", ""))
    why = os.strerror(number) if number else "it ended without a word"
    return ZygoteError(
        f"cannot start '{name}': {step}: {f'{detail}: ' if detail else ''}{why}",
        code="step-failed", step=step, errno=number, hint=str(parts.get("hint", "")),
    )  # fmt: skip
