"""After the manager was killed: what its workers' state files say, and what still lives.

Workers lived on meanwhile. Those whose process is the one on record are taken over as they are;
those that are gone without a trace ended as *unknown*; those that were stopped stay so.

A process that is ours, but cannot be taken over (its record is broken, or of another version), is
told to end, as at a stop of its worker, and only then is its worker started anew: unmanaged it
would go on beside a second one, at the same port, with the same files. Ours is what pid, start time
and boot say; nothing else is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from zygote.fleet.model import Run, WorkerSpec, worker_from_json
from zygote.manager import takeover
from zygote.manager.children import Child, Children
from zygote.manager.parts import Parts
from zygote.manager.recycle import find_left
from zygote.manager.state import Found, check_format
from zygote.manager.verbs import Workers, same_spec
from zygote.manager.worker import Worker
from zygote.sys import pidfd as pidfds


class Adoption:
    """What became of an earlier manager's workers.

    Attributes:
        adopted: they run, and are ours again.
        resting: names of those that somebody had stopped, or that ended for good: not to be
            started with the others.
        wanted: names of those that were to run, and never came to it.
        removed: adopted, but no longer in the fleet file: to be stopped.
    """

    def __init__(self) -> None:
        self.adopted: list[Worker] = []
        self.resting: set[str] = set()
        self.wanted: list[str] = []
        self.removed: list[Worker] = []


def adopt_all(found: list[Found], workers: Workers, parts: Parts, children: Children) -> Adoption:
    """Take over, or note the loss of, every worker on record. Owns all pidfds in `found`."""
    adoption = Adoption()
    for each in found:
        try:
            _adopt(each, workers, parts, children, adoption)
        except Exception as error:
            _displace(each, error, workers, parts, children, adoption)
    return adoption


def _adopt(
    each: Found, workers: Workers, parts: Parts, children: Children, adoption: Adoption
) -> None:
    check_format(each.record)
    spec = worker_from_json(each.record["spec"])
    now = workers.spec_of(each.name)
    worker = workers.find(each.name)
    if worker is None and (now or each.pidfd >= 0):
        worker = workers.add(now or spec)
    if left := find_left(each.record, each.name, each.pid, parts):
        worker = worker or workers.add(now or spec)
        takeover.adopt_retiring(worker, left)
    if worker is None:
        parts.state.forget(each.name)
    elif each.pidfd >= 0:
        if now and not same_spec(now, spec):
            worker.pending = now
        worker.respec(spec)
        leaf = parts.leaves.adopt(each.pid, "worker", each.name, spec)
        ended = asyncio.get_running_loop().create_future()
        child = Child(each.pid, each.pidfd, "worker", each.name, ended, leaf, ours=False)
        takeover.adopt(worker, parts, children.add(child), each.started_at, each.record)
        adoption.adopted.append(worker)
        if now is None:
            adoption.removed.append(worker)
    elif not each.record.get("wanted"):
        if not each.record.get("failed"):
            adoption.resting.add(each.name)
    elif each.pid:
        takeover.lost(worker, parts, each.record)
        if not worker.unit.wanted and each.record.get("boot_id") == parts.state.boot_id:
            adoption.resting.add(each.name)  # its policy says so; after a boot all start anew
    else:
        adoption.wanted.append(each.name)


def _displace(
    each: Found,
    error: Exception,
    workers: Workers,
    parts: Parts,
    children: Children,
    adoption: Adoption,
) -> None:
    """Have a process that cannot be taken over end, and then start its worker, if it is wanted."""

    def tell(what: str) -> None:
        parts.events.emit("adoption-failed", each.name, each.pid or None, f"{error!r}; {what}")

    if each.pidfd < 0:
        tell("nothing of it runs")
        if workers.spec_of(each.name) is None:
            parts.state.forget(each.name)
        return
    try:
        child = children.get(each.pid) or _file(each, parts, children)
    except Exception as second:
        with contextlib.suppress(OSError):
            pidfds.send_signal(each.pidfd, signal.SIGKILL)
        os.close(each.pidfd)
        adoption.resting.add(each.name)
        tell(f"nor can it be watched ({second!r}): it is killed, and its worker not started")
        return
    known = workers.spec_of(each.name)
    again = known is not None and bool(each.record.get("wanted", True))
    # One that the fleet file knows no more, and that no record describes, is there to be stopped.
    unknown = WorkerSpec(each.name, "", Run("module", ""), autostart=False)
    worker = workers.find(each.name) or workers.add(known or unknown)
    tell("it is told to end" + (", and its worker is started anew after it" if again else ""))
    takeover.displace(worker, child, each.started_at, again=again)
    if known is None:
        adoption.removed.append(worker)
    elif not again:
        adoption.resting.add(each.name)


def _file(each: Found, parts: Parts, children: Children) -> Child:
    """File a process that lives, in the leaf that it sits in, if that can be found.

    Raises:
        OSError: it cannot be watched; the pidfd is still the caller's.
    """
    leaf = None
    with contextlib.suppress(OSError, ValueError):
        leaf = parts.leaves.adopt(each.pid, "worker", each.name)
    ended = asyncio.get_running_loop().create_future()
    child = Child(each.pid, each.pidfd, "worker", each.name, ended, leaf, ours=False)
    return children.add(child)
