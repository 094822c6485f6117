"""All messages between the manager and a zygote, over one SEQPACKET socket.

A packet is HEADER, then `body` (JSON, UTF-8), with file descriptors by SCM_RIGHTS. Imperatives
go out, past tense comes back:

    manager -> zygote   Bake        body: see `forkserver`; no fds
    zygote -> manager   Progress    body: {"stage": str, "detail": str}; while it bakes
    zygote -> manager   Baked       body: the bake's report (stages, modules, python, spawn path);
                                    fd: a memfd, which files it was made of (`forkserver.prints`)
    zygote -> manager   BakeFailed  body: ZygoteError.as_dict() + {"traceback": str}; it then exits
    manager -> zygote   Spawn       body: JSON, see below, which only the CHILD parses
    manager -> zygote   Branch      no body; fds: a link, a log: the clone becomes a zygote on them
    manager -> zygote   Blank       body: their title; fds: sockets, on which as many clones wait
    zygote -> manager   Parked      body: {"pids", "errno", "hint"}; fds: their pidfds, or none
    manager -> blank    Spawn       on its socket; it answers on the report alone
    zygote -> manager   Spawned     pid in the header, pidfd as the one fd (none on the fork path)
    zygote -> manager   SpawnFailed body: {"step", "errno", "hint"}; no process was made

The zygote reads only the header of a Spawn: it keeps the raw body for the child to parse, so
that nothing of a request outlives it on the zygote's heap. A body larger than MAX_INLINE travels
in a memfd, as the last fd, with FLAG_MEMFD.

Protocol history: 1 first version; 2 Branch; since then Blank and Parked, which only a zygote is
asked for whose Baked says `"blanks": true`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

VERSION = 2
MAGIC = b"ZYG"
HEADER = struct.Struct("!3sBBBHi16sI")
"""magic, version, kind, flags, number of fds, pid, spawn id (16 bytes), body length."""
MAX_INLINE = 64 * 1024
MAX_PACKET = HEADER.size + MAX_INLINE
MAX_FDS = 64
MAX_BLANKS = 32
"""In one request: their sockets must fit, and a spawn that comes meanwhile waits for them all."""

FLAG_CGROUP = 1
"""Spawn: the first fd is the open directory of the cgroup leaf (for CLONE_INTO_CGROUP)."""
FLAG_MEMFD = 2
"""The body is in the last fd."""


class Kind(IntEnum):
    """What a packet means."""

    BAKE = 1
    PROGRESS = 2
    BAKED = 3
    BAKE_FAILED = 4
    SPAWN = 5
    SPAWNED = 6
    SPAWN_FAILED = 7
    BRANCH = 8
    BLANK = 9
    PARKED = 10


@dataclass(frozen=True, slots=True)
class Packet:
    """One decoded packet; `fds` belong to whoever received it."""

    kind: Kind
    spawn_id: bytes = bytes(16)
    pid: int = 0
    flags: int = 0
    body: bytes = b""
    fds: tuple[int, ...] = ()


# What a Spawn's body holds (JSON keys), all resolved by the manager so that the child looks
# nothing up. `worker`, `run`, `env` and `cwd` must be there; what is left out of the others is as
# `zygote.child.request` says: that part of the process stays as the zygote has it.
#   worker: str                    name, for messages and the title
#   run: {"kind", "target"}        module | function | file | command (python -c)
#   args: [str]                    argv[1:]
#   path0: str | null              sys.path[0]; null: the rule of `python` for this kind of run
#   env: {str: str}                the child's WHOLE environment
#   cwd: str, umask: int
#   session: "new" | "group"       setsid(), or only setpgid(0, 0) (so that Ctrl-Z works)
#   fds: [str]                     a role per passed fd, in order, the cgroup dir first if any:
#                                  "cgroup", "stdin", "stdout", "stderr", "report", "record",
#                                  "cgroup.procs" (blanks, fall-back), "listen:NAME",
#                                  "mold" (a socket: a Branch on it is answered by the worker),
#                                  "credential:NAME" (become 3 and on, after those of listen)
#   rlimits: {str: [soft, hard]}, nice, oom_score_adj, affinity: [int] | null
#   uid, gid: int | null, groups: [int] | null, capabilities: [int] | null, no_new_privs: bool
#   walls: null, or {"report": bool (what cannot be is left out and told), "gaps": [str],
#          "network": bool, "tmp": bool, "keep": [paths seen in that tmp], "read_only": [path],
#          "landlock": null | {"read", "write", "execute": [path], "bind", "connect": [port]},
#          "seccomp": str (BPF, base64), "seccomp_words": str}
#   title: str
#   spawn_id: str (hex)
#
# On "report" (a SOCK_SEQPACKET end) the child writes exactly one JSON record:
#   {"up": true, "pid": int, "began", "monotonic": float}   just before the user's code, then it is
#   closed; "began" is when the set-up did;
#    with walls also "walls": [str], those that stand, "gaps": [str], those that do not
#   {"up": false, "step": str, "errno": int, "detail": str, "hint": str}   then _exit(REPORT_EXIT)
# On "record" (a regular file, state/<worker>.pid) it writes, before "up":
#   "PID STARTTIME SPAWN_ID\n"     starttime: field 22 of /proc/self/stat
# If the report cannot be written because the manager is gone (EPIPE), the child ends with
# ORPHAN_EXIT and never runs the user's code: so whatever runs is on record (no ghosts).

REPORT_EXIT = 112
ORPHAN_EXIT = 113


def encode(packet: Packet) -> bytes:
    """The packet's bytes; the caller sends `packet.fds` beside them."""
    return (
        HEADER.pack(
            MAGIC,
            VERSION,
            packet.kind,
            packet.flags,
            len(packet.fds),
            packet.pid,
            packet.spawn_id,
            len(packet.body),
        )
        + packet.body
    )


class Head(NamedTuple):
    """The header of a packet, as far as one must know it before reading the body."""

    kind: Kind
    flags: int
    nfds: int
    pid: int
    spawn_id: bytes
    length: int
    """Bytes of the body that follow; 0 with FLAG_MEMFD."""


def decode_head(data: bytes | memoryview) -> Head:
    """Read a packet's header and leave its body alone.

    Raises:
        ValueError: not a packet of this protocol version, of no known kind, or cut short.
    """
    if len(data) < HEADER.size:
        raise ValueError(f"packet of {len(data)} bytes, a header has {HEADER.size}")
    magic, version, kind, flags, nfds, pid, spawn_id, length = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"not protocol {VERSION}: {bytes(data[:4])!r}")
    return Head(Kind(kind), flags, nfds, pid, spawn_id, 0 if flags & FLAG_MEMFD else length)


def check_whole(head: Head, body_size: int, nfds: int) -> None:
    """Check that what came beside a header is what the header says.

    Raises:
        ValueError: another number of descriptors, or a body of another size.
    """
    if head.nfds != nfds:
        raise ValueError(f"{nfds} fds came, the header says {head.nfds}")
    if head.flags & FLAG_MEMFD:
        if not nfds:
            raise ValueError("the header says that the body is in an fd, and none came")
    elif body_size != head.length:
        raise ValueError(f"body of {body_size} bytes, the header says {head.length}")


def decode(data: bytes, fds: tuple[int, ...] = ()) -> Packet:
    """Read one packet.

    Raises:
        ValueError: not a packet of this protocol version, or cut short.
    """
    head = decode_head(data)
    body = data[HEADER.size :]
    check_whole(head, len(body), len(fds))
    return Packet(head.kind, head.spawn_id, head.pid, head.flags, body, fds)
