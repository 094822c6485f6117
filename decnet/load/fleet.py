"""The decoys of a running fleet, as targets."""

from __future__ import annotations

from pathlib import Path

from decnet.decoys.catalogue import UnknownDecoy, parse_instance
from decnet.load.crowd import Target
from decnet.settings import Settings
from zygote.client.api import Client


async def targets(control: Path, settings: Settings) -> list[Target]:
    """The decoys that are ready and whose port is known.

    Args:
        control: the manager's control socket.
    Raises:
        ZygoteError: no manager answers.
    """
    async with await Client.connect(control) as manager:
        workers = await manager.workers()
    found = []
    for worker in workers:
        try:
            instance = parse_instance(worker.name, settings.decky_name)
            port = settings.decoy_port(instance.kind, instance.number)
        except UnknownDecoy:
            continue
        if worker.ready and port:
            found.append(Target(worker.name, instance.kind, port))
    return found
