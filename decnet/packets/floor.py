"""What sniffer and probe need beyond the floor, imported once by its branch `packet`; its warm-up.

Of scapy only IPv4, IPv6 and TCP (`decnet.packets.light`), a third of what `scapy.all` costs.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import decnet.workers.probe
import decnet.workers.sniffer
from decnet.packets.rehearsal import exercise


def warm() -> None:
    """Dissect prepared packets of all kinds, and visit nobody. Leaves nothing running."""
    with tempfile.TemporaryDirectory(prefix="decnet-warm-") as folder:
        exercise(Path(folder))
        rounds = Path(folder) / "rounds"
        rounds.mkdir()
        asyncio.run(decnet.workers.probe.rehearse(rounds))
