"""`decnetctl supervise`: workers as tasks of one process, in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from decnet.settings import Settings
from zygote.errors import Exit, ZygoteError
from zygote.notify import ready, stopping

if TYPE_CHECKING:
    from decnet.supervise.host import Host


def supervise(*names: str, every: Annotated[bool, Parameter("--all")] = False) -> None:
    """Host workers in one process: less memory than cold processes, and one fate for all.

    The fleet (`decnetctl up`) saves more and keeps every worker its own; this is for a machine
    that may not fork, and to compare. Ctrl-C or SIGTERM stops all of them.

    Args:
        names: workers, or the groups batch and cpu.
        every: every worker that is no decoy.
    """
    from decnet.supervise.host import GROUPS, Host, choose, load  # late: every worker

    if not names and not every:
        raise ZygoteError(
            "which workers?",
            hint=f"name some, a group ({', '.join(GROUPS)}), or --all",
            exit_code=Exit.USAGE,
        )
    chosen = choose(["all"] if every else names)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s worker=supervise level=%(levelname)s %(message)s",
    )
    settings = Settings.from_env()
    asyncio.run(_run(Host([load(name) for name in chosen], settings)))


async def _run(host: Host) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(host.run())

    def on_signal(number: int) -> None:
        if host.stopping.is_set():
            work.cancel()
        stopping()
        host.stop(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    announcing = asyncio.create_task(_announce(host))
    try:
        await work
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


async def _announce(host: Host) -> None:
    for worker in host.workers:
        await worker.ready.wait()
        logging.getLogger("decnet.supervise").info("%s: ready", worker.name)
    ready(f"{len(host.workers)} workers in one process")
    print(f"ready: {', '.join(worker.name for worker in host.workers)}", flush=True)
