"""What the sniffer needs, imported once by the zygote `packet`, and its warm-up.

Of scapy only IPv4, IPv6 and TCP, half of what `scapy.all` costs; no database, no ORM, no web
framework.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import decnet.bus.client
import decnet.context
import decnet.workers.sniffer  # noqa: F401 -- the worker itself, in the floor
from decnet.packets.rehearsal import exercise


def warm() -> None:
    """Dissect prepared packets of all kinds. Leaves no thread, socket or loop behind."""
    with tempfile.TemporaryDirectory(prefix="decnet-warm-") as folder:
        exercise(Path(folder))
