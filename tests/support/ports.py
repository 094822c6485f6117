"""A port for a test's own server or worker: free, and not given twice."""

from __future__ import annotations

import itertools
import os
import socket

LOW, HIGH = 31_200, 32_700
"""Beyond those of `decnet.run.ports`, below those that kernels give to outgoing connections."""
_turns = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, and that no other process of tests gets.

    Until this process ends it is told by a socket whose name only one can have, see unix(7): what
    is chosen here is bound a while later, by a process that has to be started first.
    """
    for _ in range(HIGH - LOW):
        port = LOW + next(_turns) % (HIGH - LOW)
        with socket.socket() as probe, socket.socket(socket.AF_UNIX) as mark:
            try:
                probe.bind(("0.0.0.0", port))
                mark.bind(f"\0tests-port-{port}")
            except OSError:
                continue
            mark.detach()
            return port
    raise AssertionError("no port is free")
