"""Who is connected to a UNIX socket, and who may command workers."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("iII")


class Peer(NamedTuple):
    """The process at the other end, as the kernel noted it at connect(2). See: unix(7)."""

    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Peer:
    """The peer's credentials; for a client, those of the process that called listen(2)."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))


def may_control(peer: Peer, allowed: frozenset[int]) -> bool:
    """Whether the peer may publish on `system.*.control`: root, our own user, and the allowed."""
    return peer.uid in (0, os.geteuid()) or peer.uid in allowed
