"""The deckies as the manager sees them, and the three things that we ask of it.

The manager listens in the worker's runtime folder. Without one (a worker started alone) nothing is
known of the decoys: unknown, which is never the same as gone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from decnet.context import WorkerError
from decnet.decoys.catalogue import WORKER_PREFIX, UnknownDecoy, parse_instance, worker_name
from decnet.estate.plan import LIVE
from decnet.settings import EXIT_CONFIG
from zygote.client.api import Client
from zygote.control.interface import Result, WorkerState
from zygote.errors import ZygoteError
from zygote.notify import status

CALL_SECONDS = 30.0


class ManagerAway(ZygoteError):
    """No manager answers: what runs is unknown."""


@dataclass
class Running:
    """A decky's decoys: service -> the manager's state of its worker."""

    number: int
    services: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def live(self) -> list[str]:
        """Services that are up or coming up."""
        return sorted(kind for kind, state in self.services.items() if state in LIVE)


def check_possible() -> None:
    """Pass, unless this worker is a unit of systemd's own and no manager can ever come.

    Raises:
        WorkerError: names the way out; the unit stays failed.
    """
    if os.environ.get("ZYGOTE_MANAGER") == "none":
        why = "it acts on decoys through a manager, and in a fleet of units there is none"
        status(why)
        raise WorkerError(
            why,
            hint="install the fleet as one service: decnetctl install --systemd, without --units",
            exit_code=EXIT_CONFIG,
        )


def control_socket() -> Path | None:
    """Where this worker's manager listens; None for a worker that has none."""
    if os.environ.get("ZYGOTE_MANAGER") == "none":
        return None
    folder = os.environ.get("ZYGOTE_RUNTIME_DIR", "")
    return Path(folder) / "control.sock" if folder else None


async def connect() -> Client:
    """A connection to the manager.

    Raises:
        ManagerAway: there is none, or it does not answer.
    """
    socket = control_socket()
    if socket is None:
        raise ManagerAway(
            "this worker was started without a manager", hint="start the fleet: decnetctl up"
        )
    try:
        return await Client.connect(socket)
    except ZygoteError as error:
        raise ManagerAway(error.message, hint=error.hint) from None


async def running(first: str) -> dict[str, Running]:
    """Decky -> what runs of it, of every decoy that the manager knows.

    Args:
        first: the name of decky 1.
    Raises:
        ManagerAway: nobody answers.
    """
    try:
        async with await connect() as manager:
            return group(await manager.workers(), first)
    except ManagerAway:
        raise
    except ZygoteError as error:
        raise ManagerAway(error.message, hint=error.hint) from None


def group(workers: Sequence[WorkerState], first: str) -> dict[str, Running]:
    """The manager's workers by decky; what is no decoy of ours is left out. Pure."""
    found: dict[str, Running] = {}
    for worker in workers:
        if not worker.name.startswith(WORKER_PREFIX):
            continue
        try:
            instance = parse_instance(worker.name, first)
        except UnknownDecoy:
            continue
        decky = found.setdefault(instance.decky, Running(instance.number))
        decky.services[instance.kind] = worker.state
        if worker.error:
            decky.errors[instance.kind] = worker.error
    return found


async def start(number: int, services: Sequence[str]) -> list[Result]:
    """Start decoys of a decky and wait until they are ready. Those that run are left as they are.

    Raises:
        ManagerAway, ZygoteError: the call failed as a whole.
    """
    async with await connect() as manager:
        names = [worker_name(kind, number) for kind in services]
        return await manager.spawn(names, timeout=CALL_SECONDS)


async def stop(number: int, services: Sequence[str]) -> list[Result]:
    """Stop decoys of a decky, and keep them stopped.

    Raises:
        ManagerAway, ZygoteError: the call failed as a whole.
    """
    async with await connect() as manager:
        names = [worker_name(kind, number) for kind in services]
        return await manager.stop(names, timeout=CALL_SECONDS)


def faults(results: Sequence[Result]) -> str:
    """What went wrong, in a line; "" where nothing did."""
    return "; ".join(f"{r.name}: {r.error or 'failed'}" for r in results if not r.ok)[:1000]
