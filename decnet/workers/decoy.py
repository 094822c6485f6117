"""decoy: one fake service on one port. `decoy@ssh`, `decoy@http`; `decoy@ssh-02` is another ssh.

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
from decnet.decoys.doorman import Doorman
from decnet.decoys.house import BadOption, House, PortRefused, listen
from decnet.decoys.journal import Journal
from decnet.decoys.spool import Spool

KINDS = {"ssh": "decnet.decoys.ssh", "http": "decnet.decoys.http"}
EXIT_USAGE = 2


def instance_of(arguments: list[str], worker: str) -> str:
    """The instance ("ssh", "ssh-02") from the command line, else from the worker's name."""
    instance = arguments[0] if arguments else worker.partition("@")[2]
    if kind_of(instance) not in KINDS:
        raise WorkerError(
            f"no decoy {instance!r}" if instance else "which decoy?",
            hint=f"one of: {', '.join(KINDS)}; more of a kind as ssh-02",
            exit_code=EXIT_USAGE,
        )
    return instance


def kind_of(instance: str) -> str:
    """The service behind an instance's name."""
    return instance.partition("-")[0]


async def main(ctx: Context) -> None:
    """Serve until told to stop."""
    settings = ctx.settings
    kind = kind_of(ctx.name.partition("@")[2])
    module: Any = importlib.import_module(KINDS[kind])
    port = {"ssh": settings.decoy_ssh_port, "http": settings.decoy_http_port}[kind]
    try:
        sock = listen(settings.decoy_host, port, module.PORT_VARIABLE)
    except PortRefused as error:
        ctx.status(error.text)
        raise WorkerError(error.text, code="port-refused", hint=error.hint) from error
    where = "{}:{}".format(*sock.getsockname()[:2])
    # The port is ours, so this spool file has no other writer.
    spool = Spool(
        settings.spool_dir,
        ctx.name,
        lambda: ctx.bus.publish(topics.SYSTEM_SPOOL, {"decoy": ctx.name}),
    )
    journal = Journal(spool, settings.decky_name, module.SERVICE)
    house = House(
        settings.decky_name, settings.state_dir, settings.artifacts_dir, journal, Doorman()
    )
    ctx.reports += [spool.health, house.doorman.health]
    with contextlib.closing(spool), contextlib.closing(sock):
        try:
            async with module.serve(sock, house):
                journal.event("startup", {"port": sock.getsockname()[1]})
                ctx.ready(f"{kind} on {where}")
                await ctx.stopping.wait()
        except BadOption as error:
            ctx.status(str(error))
            raise WorkerError(str(error), code="bad-option", hint=error.hint) from error
        journal.event("shutdown")


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
