"""Who is at the other end of a control connection, and what they may ask for.

Facts: SO_PEERCRED gives pid, uid and gid as they were when the peer called connect(2); it cannot be
forged. SO_PEERGROUPS (4.13) gives the supplementary groups of the same moment (unix(7)). A uid that
our user namespace does not know reads as 65534.
"""

from __future__ import annotations

import grp
import os
import socket
import struct
from dataclasses import dataclass

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet

EVERYBODY = -1

READ = frozenset({"Status", "Zygotes", "List", "Events"})
"""Methods of io.zygote.Manager that change nothing. All others are for operators."""

_SO_PEERGROUPS = 59
_UCRED = struct.Struct("=iII")
_MOST_GROUPS = 65536


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller, as the kernel knows it since its connect(2). `pid` may be gone by now."""

    pid: int
    uid: int
    gids: frozenset[int]

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid})"


def read_peer(connection: socket.socket) -> Peer:
    """The peer of a connected UNIX stream socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return Peer(pid, uid, frozenset((gid, *_groups(connection))))


class Peers:
    """The rule: root and the manager's own user may do all; groups may be let act, or read.

    Args:
        uid: the manager's; its own by default.
        readers: gid whose members may use the reading methods; None: nobody; -1: everybody.
        operators: gid whose members may do all; None: nobody.
    """

    def __init__(
        self, uid: int | None = None, readers: int | None = None, operators: int | None = None
    ) -> None:
        self._uid = os.geteuid() if uid is None else uid
        self._readers = readers
        self._operators = operators

    def is_operator(self, peer: Peer) -> bool:
        """May do all."""
        return peer.uid in (0, self._uid) or self._operators in peer.gids

    def is_reader(self, peer: Peer) -> bool:
        """May at least read."""
        return self._readers == EVERYBODY or self.is_operator(peer) or self._readers in peer.gids

    def check(self, peer: Peer, method: str) -> None:
        """Pass if `peer` may call this method of io.zygote.Manager.

        Raises:
            ZygoteError: code not-allowed.
        """
        if self.is_operator(peer) or (method in READ and self.is_reader(peer)):
            return
        who = "only root" if self._uid == 0 else f"only root and uid {self._uid}"
        if self._operators is not None:
            who += f", and members of group {_group_name(self._operators)},"
        raise ZygoteError(
            f"uid {peer.uid} may not call {method}",
            code="not-allowed",
            hint=f"the manager runs as uid {self._uid}: {who} may; use sudo or that user",
            exit_code=Exit.NOT_ALLOWED,
        )


def resolve(fleet: Fleet) -> tuple[Peers, list[str]]:
    """The rule of a fleet file, and what of it cannot be had here.

    A group that does not exist has no members, so leaving it out lets nobody in.
    """
    trouble = []

    def gid(key: str, name: str) -> int | None:
        if not name or (key == "readers" and name == "nobody"):
            return None
        if key == "readers" and name == "all":
            return EVERYBODY
        try:
            return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
        except KeyError:
            trouble.append(f'{key} = "{name}": there is no such group here, so nobody is let in')
            return None

    readers, operators = gid("readers", fleet.readers), gid("operators", fleet.operators)
    return Peers(readers=readers, operators=operators), trouble


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * 64)
    except OSError:
        try:
            raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
        except OSError:
            return ()  # a kernel before 4.13: the primary group alone counts
    return struct.unpack(f"={len(raw) // 4}I", raw)
