"""probe: looks back at attackers, port by port, and keeps what their machines show.

Only addresses in DECNET_PROBE_TARGETS are ever visited (as shipped: 127.0.0.0/8, for trying it
out), each once, and again only if its attacker comes back after DECNET_PROBE_TTL. On an address
of this host, ports of our own decoys and servers are left alone: else each visit would be an
attack, to be looked back at, and so on for ever.

Without CAP_NET_RAW it works without the TCP stack probe, and says so in its heartbeat (`cannot`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.decoys.spool import Spool
from decnet.packets.rights import keep_only_net_raw
from decnet.probes.prober import Prober
from decnet.probes.rehearsal import rounds
from decnet.probes.settings import ProbeSettings

POLL_SECONDS = 5.0


async def main(ctx: Context) -> None:
    """Probe until told to stop."""
    settings = ProbeSettings.from_env()
    wake = await ctx.wake(topics.ATTACKER_OBSERVED, topics.ATTACKER_SCORED)
    spool = Spool(
        ctx.settings.spool_dir,
        ctx.name,
        lambda: ctx.bus.publish(topics.SYSTEM_SPOOL, {"decoy": ctx.name}),
    )
    prober = Prober(ctx, settings, spool)
    ctx.reports += [spool.health, prober.health]
    with contextlib.closing(spool):
        networks = ", ".join(map(str, settings.targets))
        ctx.ready(
            f"visiting {networks}" if networks else "visiting nobody: no DECNET_PROBE_TARGETS"
        )
        try:
            while not ctx.stopping.is_set():
                ctx.progress()
                await prober.enrol()
                await prober.start_due(wake.hint)
                await wake.wait(POLL_SECONDS)
        finally:
            await prober.stop()


async def rehearse(folder: Path) -> None:
    """Rounds that visit nobody, in an empty folder: claims, results, events."""
    await rounds(folder)


def run() -> None:
    """The worker, under the zygote or alone: as root it keeps CAP_NET_RAW and nothing else."""
    keep_only_net_raw()
    run_worker("probe", main)


if __name__ == "__main__":
    run()
