"""Free ports for a run that must not meet another one's."""

from __future__ import annotations

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


def free_ports(deckies: int = DECKIES) -> dict[str, str]:
    """Environment for a fleet of that many deckies: `WORKER_PORTS` and each kind's base port.

    Raises:
        OSError: none were found.
    """
    assert deckies <= DECKIES_MOST
    variables = [*(kind.variable for kind in KINDS.values()), *WORKER_PORTS]
    spans = [deckies] * len(KINDS) + [1] * len(WORKER_PORTS)
    for _ in range(TRIES):
        origin = random.randrange(LOW, HIGH - deckies * PORT_STEP, 20)
        offsets = [n + PORT_STEP * decky for n, span in enumerate(spans) for decky in range(span)]
        if all(_is_free(origin + offset) for offset in offsets):
            return {name: str(origin + n) for n, name in enumerate(variables)}
    raise OSError(0, "no free ports for the decoys")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
