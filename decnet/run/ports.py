"""Free ports for a run that must not meet another one's."""

from __future__ import annotations

import contextlib
import random
import socket

from decnet.decoys.catalogue import DECKIES_MOST, KINDS, PORT_STEP

LOW, HIGH = 10_000, 31_000
"""Below the ports that kernels give to outgoing connections."""
DECKIES = 4
WORKER_PORTS = (
    "DECNET_API_PORT",
    "DECNET_SWARM_SYSLOG_PORT",
    "DECNET_CANARY_PORT",
    "DECNET_WEB_PORT",
)
"""Of the workers that are no decoys: one port each. Add yours here."""
TRIES = 200
CELL = 20
"""Ports that one decky has for itself; no less than there are variables."""


def free_ports(deckies: int = DECKIES) -> dict[str, str]:
    """Environment for a fleet of that many deckies: `WORKER_PORTS` and each kind's base port.

    They are kept for this process until it ends: who asks meanwhile, before the fleet has bound
    them, gets others.

    Raises:
        OSError: none were found.
    """
    assert deckies <= DECKIES_MOST
    variables = [*(kind.variable for kind in KINDS.values()), *WORKER_PORTS]
    spans = [deckies] * len(KINDS) + [1] * len(WORKER_PORTS)
    for _ in range(TRIES):
        origin = random.randrange(LOW, HIGH - deckies * PORT_STEP, CELL)
        offsets = [n + PORT_STEP * decky for n, span in enumerate(spans) for decky in range(span)]
        cells = [origin + PORT_STEP * decky for decky in range(deckies)]
        if all(_is_free(origin + offset) for offset in offsets) and _keep(cells):
            return {name: str(origin + n) for n, name in enumerate(variables)}
    raise OSError(0, "no free ports for the decoys")


def _keep(cells: list[int]) -> bool:
    """Whether all of them are ours now: each has a name that one socket alone can have, unix(7)."""
    with contextlib.ExitStack() as given_back:
        socks = [given_back.enter_context(socket.socket(socket.AF_UNIX)) for _ in cells]
        try:
            for cell, sock in zip(cells, socks, strict=True):
                sock.bind(f"\0decnet-ports-{cell}")
        except OSError:
            return False
        for sock in socks:
            sock.detach()  # it stays open until the process ends
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
