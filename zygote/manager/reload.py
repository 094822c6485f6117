"""What a changed fleet file means for a fleet that runs."""

from __future__ import annotations

from dataclasses import replace

from zygote.fleet.model import Fleet, ZygoteSpec
from zygote.manager.unit import LIVE
from zygote.manager.verbs import Workers, same_spec
from zygote.manager.worker import Worker
from zygote.manager.zygotes import Zygotes


class Changes:
    """What `apply` did, and what is left to the caller.

    Attributes:
        lines: one for each change made or pending, for people.
        start: names of new workers that start by themselves.
        stop: workers that are no longer in the file.
        new_zygotes: to be baked.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.start: list[str] = []
        self.stop: list[Worker] = []
        self.new_zygotes: list[str] = []


def apply(fleet: Fleet, workers: Workers, zygotes: Zygotes) -> Changes:
    """Make `fleet` the one that holds. Running workers keep what they were started with."""
    changes = Changes()
    for name, spec in fleet.zygotes.items():
        slot = zygotes.slots.get(name)
        if slot is None:
            zygotes.add(spec)
            changes.new_zygotes.append(name)
            changes.lines.append(f"zygote {name}: new, baking")
            continue
        if slot.spec.blanks != spec.blanks:
            slot.spec = replace(slot.spec, blanks=spec.blanks)
            slot.keep_blanks(spec.blanks)
            changes.lines.append(f"zygote {name}: blanks = {spec.blanks} from now on")
        if not same_zygote(slot.spec, spec):
            # A zygote that ends is baked anew by this spec as well.
            slot.spec = spec
            changes.lines.append(f"zygote {name}: changed; holds from its next bake (reload)")
    changes.lines += [
        f"zygote {name}: removed; it serves on until the manager ends"
        for name in zygotes.slots
        if name not in fleet.zygotes
    ]
    workers.fleet = fleet
    workers.pace(fleet.restart_rate)
    for name in fleet.order:
        if workers.find(name) is None:
            worker = workers.add(fleet.workers[name])
            autostart = worker.unit.spec.autostart
            changes.lines.append(f"worker {name}: new{', starting' if autostart else ''}")
            if autostart:
                changes.start.append(name)
    for worker in workers.all():
        _apply_to(worker, workers, changes)
    workers.sort()
    if not changes.lines:
        changes.lines.append("nothing changed")
    return changes


def _apply_to(worker: Worker, workers: Workers, changes: Changes) -> None:
    spec = workers.spec_of(worker.name)
    if spec is None:
        changes.stop.append(worker)
        changes.lines.append(f"worker {worker.name}: removed, stopping")
        return
    holds = worker.pending or worker.unit.spec
    if same_spec(spec, holds):
        return
    if same_spec(spec, worker.unit.spec):
        worker.pending = None
        changes.lines.append(f"worker {worker.name}: changed back to what runs")
    elif worker.unit.state in LIVE:
        worker.pending = spec
        changes.lines.append(f"worker {worker.name}: changed, pending its restart")
    else:
        worker.respec(spec)
        changes.lines.append(f"worker {worker.name}: changed")


def same_zygote(one: ZygoteSpec, other: ZygoteSpec) -> bool:
    """Equal but for the line they stand on."""
    return replace(one, place="", blanks=0) == replace(other, place="", blanks=0)
