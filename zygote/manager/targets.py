"""What a reload is about: which zygotes are baked anew, and which workers move."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from zygote.errors import Exit, ZygoteError
from zygote.manager.freshness import Freshness
from zygote.manager.mold import Mold
from zygote.manager.reload import same_zygote
from zygote.manager.slot import Slot
from zygote.manager.unit import LIVE, State
from zygote.manager.verbs import Workers
from zygote.manager.worker import Worker
from zygote.manager.zygotes import Zygotes


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants brought up to date; nothing named: all that is not."""

    zygotes: Collection[str] = ()
    workers: Collection[str] = ()
    force: bool = False
    """All, up to date or not."""
    mold: str = ""
    """A worker that its zygote's next generation is to be forked from."""
    move: bool = False
    """With `mold`: move the workers over."""


@dataclass(frozen=True, slots=True)
class Targets:
    """`slots` to be baked, parents first, and `workers` to be moved, in start order.

    `molds`: zygote -> what its next generation is forked from.
    """

    slots: list[Slot]
    workers: list[Worker]
    molds: Mapping[str, Mold] = field(default_factory=dict)


def choose(asked: Asked, workers: Workers, zygotes: Zygotes, freshness: Freshness) -> Targets:
    """What is to be done.

    - Zygotes that are named, or else those whose files or keys have changed; with them all that are
      forked from them.
    - Workers that are named, or else all that run and are copies of these zygotes, or whose own
      file or keys have changed.

    Raises:
        ZygoteError: no such zygote, no such worker.
    """
    freshness.forget()
    if asked.mold:
        return _from_mold(asked, workers, zygotes)
    for name in asked.zygotes:
        if name not in zygotes.slots:
            raise ZygoteError(
                f"no zygote '{name}' in fleet '{workers.fleet.name}'",
                code="no-such-zygote",
                hint=f"there are: {', '.join(zygotes.slots)}",
                exit_code=Exit.NO_SUCH_WORKER,
            )
    named = {worker.name: worker for name in asked.workers for worker in workers.match(name)}
    bake = _zygotes(asked, named, zygotes, freshness)
    chosen = [
        worker
        for worker in workers.all()
        if worker.unit.state in LIVE
        and (
            worker.name in named
            if named
            else asked.force or _zygote_of(worker) in bake
            or (not asked.zygotes and (worker.pending or worker.outdated))
        )
    ]  # fmt: skip
    return Targets([slot for name, slot in _parents_first(zygotes) if name in bake], chosen)


def _from_mold(asked: Asked, workers: Workers, zygotes: Zygotes) -> Targets:
    """The zygote of a worker, to be forked from that; what is forked from that zygote, with it.

    Raises:
        ZygoteError: no such worker, or it cannot be.
    """
    worker, *more = workers.match(asked.mold)
    slot, mold = zygotes.slots[_zygote_of(worker)], worker.mold
    why, hint = "", ""
    if more:
        why, hint = "the name is that of several workers", "name one of them"
    elif not worker.unit.spec.refork:
        why, hint = "it is not allowed", f"refork = true in [worker.{worker.name}], then restart it"
    elif worker.unit.state is not State.READY:
        why, hint = f"it is {worker.unit.state}", "it must be ready, and warm"
    elif mold is None or mold.gone:
        why = "it has no channel to ask on: an earlier manager started it, or it closed it"
        hint = f"zygotectl restart {worker.name}"
    elif worker.outdated:
        why, hint = f"it is older than {worker.outdated}", "zygotectl reload"
    elif not (slot.current and slot.current.ready):
        why, hint = f"zygote '{slot.spec.name}' does not serve now", "wait until it does"
    if why or mold is None:
        raise ZygoteError(
            f"worker '{worker.name}' cannot be the mold of zygote '{slot.spec.name}': {why}",
            code="no-mold", hint=hint, place=worker.unit.spec.place,
        )  # fmt: skip
    mold.identity, mold.layout = (slot.spec.name, worker.generation), worker.layout
    mold.pid = worker.child.pid if worker.child else 0
    baked = {slot.spec.name}
    for name, each in _parents_first(zygotes):
        if each.spec.parent in baked and each.current and each.current.ready:
            baked.add(name)
    moved = [
        each
        for each in workers.all()
        if asked.move and each.unit.state in LIVE and _zygote_of(each) in baked
    ]
    slots = [each for name, each in _parents_first(zygotes) if name in baked]
    return Targets(slots, moved, {slot.spec.name: mold})


def _zygotes(
    asked: Asked, named: dict[str, Worker], zygotes: Zygotes, freshness: Freshness
) -> set[str]:
    """Names of those to be baked. One that does not serve is being baked already, by itself."""
    among = {_zygote_of(worker) for worker in named.values()} if named else set(zygotes.slots)
    found: set[str] = set()
    for name, slot in _parents_first(zygotes):
        if not (slot.current and slot.current.ready):
            continue
        if asked.zygotes:
            wanted = name in asked.zygotes
        else:
            wanted = name in _with_parents(among, zygotes) and (
                (asked.force and not named) or is_outdated(slot, freshness)
            )
        if wanted or slot.spec.parent in found:
            found.add(name)
    return found


def is_outdated(slot: Slot, freshness: Freshness) -> bool:
    """Whether what serves is older than its files, or was made by other keys."""
    current = slot.current
    if current is None:
        return False
    made_of = replace(current.spec, blanks=slot.spec.blanks)  # those change without a bake
    return not same_zygote(made_of, slot.spec) or freshness.look(current.identity) is not None


def _with_parents(names: set[str], zygotes: Zygotes) -> set[str]:
    found: set[str] = set()
    for start in names:
        name = start
        while name in zygotes.slots and name not in found:
            found.add(name)
            name = zygotes.slots[name].spec.parent
    return found


def _parents_first(zygotes: Zygotes) -> list[tuple[str, Slot]]:
    def depth(slot: Slot) -> int:
        parent = zygotes.slots.get(slot.spec.parent)
        return 1 + depth(parent) if parent else 0

    return sorted(zygotes.slots.items(), key=lambda item: depth(item[1]))


def _zygote_of(worker: Worker) -> str:
    return (worker.pending or worker.unit.spec).zygote
