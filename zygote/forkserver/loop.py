"""Serve spawns, one after the other, until the manager hangs up.

The loop runs on a heap that every worker shares, so it must not write to it: it reads a header of
forty bytes out of a mapped buffer, clones, passes on a pid and a descriptor, and all that it made
for that is gone before the next request. The body is for the clone alone to read.

In the clone `serve` *returns*: whatever the clone does next has no frame of this loop below it.
"""

from __future__ import annotations

import errno
import json
from typing import NamedTuple

from zygote.forkserver.blank import park
from zygote.forkserver.paths import Path, clone_hint
from zygote.sys import fds as descriptors
from zygote.sys.clone3 import Batch
from zygote.sys.stderr import say
from zygote.wire.link import BadPacketError, Link, Request
from zygote.wire.messages import FLAG_CGROUP, Head, Kind, Packet


class Order(NamedTuple):
    """What a clone is to become: a worker, or (BRANCH) a zygote; it owns the fds."""

    kind: Kind
    body: bytes
    fds: tuple[int, ...]
    spawn_id: bytes


_MAKES_PROCESS = (Kind.SPAWN, Kind.BRANCH, Kind.BLANK)


def serve(link: Link, path: Path) -> Order | None:
    """Answer requests.

    Returns:
        In a clone: its order. In the zygote: None, when the manager hung up.
    """
    while True:
        try:
            request = link.wait()
        except BadPacketError as error:
            _refuse(link, error.head, error.errno, f"bad request: {error}")
            continue
        if request is None:
            return None
        if request.head.kind not in _MAKES_PROCESS:
            descriptors.close(request.fds)
            _refuse(link, request.head, errno.EPROTO, f"no request: {request.head.kind.name}")
            continue
        if request.head.kind is Kind.BLANK:
            outcome = park(link, path, request)
            if isinstance(outcome, Request):
                return _order(link, outcome)
            descriptors.close(request.fds)
            if not _answer_parked(link, request.head, outcome):
                return None
            continue
        try:
            pid, pidfd = path.spawn(_cgroup(request))
        except OSError as error:
            descriptors.close(request.fds)
            number = error.errno or errno.EAGAIN
            if not _answer_failed(link, request.head, "clone", number, clone_hint(number)):
                return None
            continue
        if pid == 0:
            # The link's copy is closed with all other descriptors, at once, by the child set-up.
            return _order(link, request)
        descriptors.close(request.fds)
        if not _answer_spawned(link, request.head, pid, pidfd):
            return None


def _order(link: Link, request: Request) -> Order:
    body, fds = link.read_body(request)
    link.forget()
    return Order(request.head.kind, body, fds, request.head.spawn_id)


def _cgroup(request: Request) -> int:
    return request.fds[0] if request.head.flags & FLAG_CGROUP and request.fds else -1


def _answer_spawned(link: Link, head: Head, pid: int, pidfd: int) -> bool:
    fds = (pidfd,) if pidfd >= 0 else ()
    try:
        return _send(link, Packet(Kind.SPAWNED, head.spawn_id, pid, fds=fds))
    finally:
        descriptors.close(fds)


def _answer_parked(link: Link, head: Head, batch: Batch) -> bool:
    fds = tuple(pidfd for _, pidfd in batch.made if pidfd >= 0)
    pids = [pid for pid, _ in batch.made]
    hint = clone_hint(batch.errno) if batch.errno else ""
    body = json.dumps({"pids": pids, "errno": batch.errno, "hint": hint}).encode()
    try:
        return _send(link, Packet(Kind.PARKED, head.spawn_id, body=body, fds=fds))
    finally:
        descriptors.close(fds)


def _answer_failed(link: Link, head: Head, step: str, number: int, hint: str) -> bool:
    body = json.dumps({"step": step, "errno": number, "hint": hint}).encode()
    return _send(link, Packet(Kind.SPAWN_FAILED, head.spawn_id, body=body))


def _refuse(link: Link, head: Head | None, number: int, text: str) -> None:
    """Answer a spawn that cannot be read, so that nobody waits for it; tell of anything else."""
    if head is not None and head.kind in _MAKES_PROCESS:
        _answer_failed(link, head, "request", number, text)
    say(f"zygote: {text}")


def _send(link: Link, packet: Packet) -> bool:
    """False when the manager is gone. The worker just made finds its report closed, and ends."""
    try:
        link.send(packet)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
