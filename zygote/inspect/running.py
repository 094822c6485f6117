"""What the workers of a running fleet imported after their fork, and what that costs them.

No worker is asked, stopped or written to. For each zygote its manager makes a clone, which tells
where sys.modules is; with that each worker's is read from its memory (`zygote.inspect.late`). Then
another clone imports what they have and it has not, and its private memory is read: that is what
each of them paid. What such an import starts (a thread, a socket) is seen there, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from zygote.client.blocking import BlockingClient
from zygote.control.interface import WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError
from zygote.inspect import late
from zygote.inspect.late import UnreadableError
from zygote.inspect.memory import Memory, explained
from zygote.inspect.propose import Cost, Proposal, order, propose
from zygote.inspect.subject import Clone

_NOWHERE = "zygote_floor_no_such_module"


def look(
    control: Path,
    names: Sequence[str],
    preloads: Callable[[], Mapping[str, Sequence[str]]],
    *,
    at_least: int = 2,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Proposal]:
    """A proposal for each zygote that has workers.

    Args:
        control: the manager's control socket.
        names: of workers; none: all.
        preloads: gives zygote → `preload` of the fleet file.
        at_least: so many workers must have a module for it to be proposed.
    Raises:
        ZygoteError: no manager, no such worker, not allowed; not-running: no worker runs.
    """
    with BlockingClient(control) as manager:
        workers = [worker for worker in manager.workers(list(names) or None) if worker.pid]
        zygotes = {zygote.name: zygote for zygote in manager.zygotes()}
    if not workers:
        raise ZygoteError("no worker runs", code="not-running", exit_code=Exit.NOT_RUNNING,
                          hint="zygotectl ps shows what does")  # fmt: skip
    known = preloads()
    found = []
    for name in dict.fromkeys(worker.zygote for worker in workers):
        served = [worker for worker in workers if worker.zygote == name]
        if not name:  # each a process of its own, which imports all that it has for itself
            continue
        zygote = zygotes.get(name)
        if zygote is None or zygote.state != "ready" or not zygote.pid:
            why = f"its zygote '{name}' is {zygote.state if zygote else 'gone'}"
            unread = {worker.name: why for worker in served}
            found.append(propose(name, known.get(name, ()), {}, [], workers=(), unread=unread))
            continue
        found.append(_of_zygote(control, zygote, served, known.get(name, ()), at_least, tell))
    return found


def _of_zygote(
    control: Path,
    zygote: ZygoteState,
    workers: Sequence[WorkerState],
    preload: Sequence[str],
    at_least: int,
    tell: Callable[[str], None],
) -> Proposal:
    tell(f"{zygote.name}: reading the modules of {len(workers)} workers")
    cwd = _cwd(zygote.pid or 0)
    unread: dict[str, str] = {}
    modules: dict[str, list[str]] = {}
    with Clone(control, zygote.name, cwd) as clone:
        address, letters, baked = clone.ask("modules")
        kind = _check(clone.pid, address, letters, baked)
        for worker in workers:
            if worker.generation != zygote.generation:
                unread[worker.name] = (
                    f"forked from generation {worker.generation}, which is gone: restart it"
                )
                continue
            try:
                with closing(Memory(worker.pid or 0)) as memory:
                    if late.type_at(memory.slab, address) != kind:
                        raise UnreadableError("sys.modules is not where its zygote has it")
                    found = late.names(memory.slab, address, letters)
            except UnreadableError as error:
                unread[worker.name] = str(error)
            except ZygoteError as error:
                if error.code != "gone":
                    raise
                unread[worker.name] = "it has ended meanwhile"
            else:
                modules[worker.name] = late.added(found, baked)
        costs: list[Cost] = []
        search_kib = 0
        wanted = order(modules)
        if wanted:
            search_kib = _search(clone)
            costs = _costs(clone, wanted, lambda text: tell(f"{zygote.name}: {text}"))
    return propose(
        zygote.name, preload, modules, costs, workers=tuple(modules), unread=unread,
        at_least=at_least, search_kib=search_kib,
    )  # fmt: skip


def _check(pid: int, address: int, letters: int, baked: list[str]) -> int:
    """Read the clone's own modules and compare with what it says; the address of type dict."""
    with closing(Memory(pid)) as memory:
        try:
            if late.names(memory.slab, address, letters) == baked:
                return late.type_at(memory.slab, address)
        except UnreadableError:
            pass
    raise ZygoteError(
        "cannot read modules out of the memory of this Python",
        code="unknown-layout",
        hint="its objects are laid out in a way that zygote.inspect.late does not know",
    )


def _search(clone: Clone) -> int:
    """What an import that finds nothing writes."""
    before = clone.memory()
    clone.ask("search", _NOWHERE)
    return max(0, clone.memory().private_dirty_kib - before.private_dirty_kib)


def _costs(clone: Clone, wanted: Sequence[str], tell: Callable[[str], None]) -> list[Cost]:
    """Import each in turn; private memory before and after is its cost."""
    before, threads, (_, sockets) = clone.memory(), clone.threads(), clone.fds()
    have = set(clone.ask("modules")[2])
    costs = []
    for module in wanted:
        if module in have:
            continue
        tell(f"importing {module}")
        try:
            seconds, new = clone.ask("grow", module)
        except ZygoteError as error:
            if error.code != "import-failed":
                raise
            costs.append(Cost(module, 0, 0.0, refused=error.message))
            have |= set(clone.ask("modules")[2])
            before = clone.memory()
            continue
        have |= {module, *new}
        after = clone.memory()
        refused = ""
        if clone.threads() > threads:
            refused = f"it starts {clone.threads() - threads} thread(s)"
        elif clone.fds()[1] > sockets:
            refused = "it opens a socket"
        threads, (_, sockets) = clone.threads(), clone.fds()
        grown = max(0, after.private_dirty_kib - before.private_dirty_kib)
        brought = tuple(name for name in new if name != module)
        costs.append(Cost(module, grown, round(seconds, 4), brought, refused))
        before = after
    return costs


def _cwd(pid: int) -> str:
    with explained(pid):
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - a string is wanted


def as_json(proposals: Sequence[Proposal]) -> dict[str, Any]:
    """The object of `floor --from-running --json`."""
    return {
        "zygotes": [proposal.as_json() for proposal in proposals],
        "saved_kib": sum(proposal.saved_kib for proposal in proposals),
    }
