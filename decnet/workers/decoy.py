"""decoy: one fake service on one port. `decoy@ssh` is decky-01's, `decoy@ssh-02` is decky-02's.

    python -m decnet.workers.decoy ssh

No database, no ORM: an attacker who broke out would find a spool to append to. Each kind's module
is imported by the zygote `decoy` beforehand (see `decnet.decoys.floor`), and by name here, so
that alone a worker loads nothing but its own kind.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

from decnet.bus import topics
from decnet.context import Context, WorkerError, run_worker
from decnet.decoys.captures import Captures, captures_folder
from decnet.decoys.catalogue import KINDS, Instance, UnknownDecoy, instance_name, parse_instance
from decnet.decoys.doorman import Doorman
from decnet.decoys.house import BadOption, House, PortRefused, listen_soon
from decnet.decoys.journal import Journal
from decnet.decoys.looks import look_of
from decnet.decoys.spool import Spool
from decnet.settings import EXIT_CONFIG, Settings, inner

EXIT_USAGE = 2


def instance_of(arguments: list[str], worker: str) -> str:
    """The instance ("ssh", "ssh-02") from the command line, else from the worker's name."""
    instance = arguments[0] if arguments else worker.partition("@")[2]
    try:
        parse_instance(instance)
    except UnknownDecoy:
        raise WorkerError(
            f"no decoy {instance!r}" if instance else "which decoy?",
            hint=f"one of: {', '.join(KINDS)}; decky-02's as ssh-02",
            exit_code=EXIT_USAGE,
        ) from None
    return instance


def house_of(settings: Settings, instance: Instance, spool: Spool) -> House:
    """What the decoy is given."""
    kind, number, decky = instance
    return House(
        decky=decky,
        state_dir=settings.state_dir,
        artifacts_dir=settings.artifacts_dir,
        journal=Journal(spool, decky, kind),
        doorman=Doorman(),
        look=look_of(number),
        captures=Captures(
            captures_folder(settings.artifacts_dir, decky, kind),
            settings.decoy_capture_bytes,
            settings.decoy_capture_day_bytes,
        ),
        keys_dir=inner(inner(settings.state_dir, "keys"), instance_name(kind, number)),
        keys_prefix="" if number == 1 else f"{decky}_",
    )


async def main(ctx: Context) -> None:
    """Serve until told to stop."""
    settings = ctx.settings
    instance = parse_instance(ctx.name, settings.decky_name)
    kind = KINDS[instance.kind]
    module: Any = importlib.import_module(kind.module)
    try:
        port = settings.decoy_port(kind.name, instance.number)
    except UnknownDecoy as error:
        raise WorkerError(
            str(error), hint=f"set {kind.variable} lower", exit_code=EXIT_CONFIG
        ) from error
    try:
        where = settings.decoy_host, port, kind.variable
        sock = await listen_soon(*where, ctx.status, ctx.extend)
    except PortRefused as error:
        ctx.status(error.text)
        raise WorkerError(error.text, code="port-refused", hint=error.hint) from error
    place = "{}:{}".format(*sock.getsockname()[:2])
    # The port is ours, so this spool file has no other writer.
    spool = Spool(
        settings.spool_dir,
        ctx.name,
        lambda: ctx.bus.publish(topics.SYSTEM_SPOOL, {"decoy": ctx.name}),
    )
    house = house_of(settings, instance, spool)
    house.doorman.when_empty = ctx.rest
    ctx.reports += [spool.health, house.doorman.health, house.captures.health]
    with contextlib.closing(spool), contextlib.closing(sock):
        try:
            async with module.serve(sock, house):
                house.journal.event("startup", {"port": sock.getsockname()[1]})
                ctx.ready(f"{kind.name} of {instance.decky} on {place}")
                await ctx.stopping.wait()
        except BadOption as error:
            ctx.status(str(error))
            raise WorkerError(str(error), code="bad-option", hint=error.hint) from error
        house.journal.event("shutdown")


def run() -> None:
    """The worker, under the zygote or alone."""
    try:
        instance = instance_of(sys.argv[1:], os.environ.get("ZYGOTE_WORKER", ""))
    except WorkerError as error:
        print(f"decoy: {error.message}\n  hint: {error.hint}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    run_worker(f"decoy@{instance}", main, database=False)


if __name__ == "__main__":
    run()
