"""The workers, one module each; `WORKERS` is the list of all that are not decoys."""

from __future__ import annotations

WORKERS: dict[str, str] = {
    "bus": "decnet.workers.bus",
    "collect": "decnet.workers.collect",
    "profiler": "decnet.workers.profiler",
    "enrich": "decnet.workers.enrich",
    "clusterer": "decnet.workers.clusterer",
    "campaign-clusterer": "decnet.workers.campaign_clusterer",
    "ttp": "decnet.workers.ttp",
    "webhook": "decnet.workers.webhook",
    "canary": "decnet.workers.canary",
    "sniffer": "decnet.workers.sniffer",
    "probe": "decnet.workers.probe",
    "listener": "decnet.workers.listener",
    "forwarder": "decnet.workers.forwarder",
    "mutate": "decnet.workers.mutate",
    "reconciler": "decnet.workers.reconciler",
    "orchestrator": "decnet.workers.orchestrator",
    "api": "decnet.workers.api",
    "web": "decnet.workers.web",
}
"""Name -> module, in the order in which they are started. A module has `main(ctx)`, `run()`, and
`DATABASE = False` where it needs no database."""
