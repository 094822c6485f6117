"""What a manager carries over an exec of itself: for each kind of thing, out of it and in again.

`leave` gives the state, `arrive` makes the same of it. A descriptor stands in it as its number; it
stays open, and is the new manager's. Not carried: zygotes that still bake (they are baked anew),
blanks (made anew), answers that others wait for (see `reexec`: none is left open).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import asdict
from typing import Any

from zygote import __version__
from zygote.control.interface import ReexecReport
from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec, worker_from_json, worker_to_json, zygote_from_json
from zygote.manager import plain, takeover
from zygote.manager.children import Child, Children
from zygote.manager.leaf import Leaf
from zygote.manager.reaper import Reaper
from zygote.manager.recycle import Retiring
from zygote.manager.unit import State
from zygote.manager.worker import Worker
from zygote.manager.works import Works
from zygote.manager.zygote import Zygote
from zygote.wire.messages import VERSION

Data = dict[str, Any]

UNIT = ("spec", "clock", "policy", "told")
POLICY = ("spec", "_chance", "_pace", "_group", "_is_needed")


def leave(works: Works, children: Children, reaper: Reaper) -> Data:
    """All of it, but for what is the app's and the control socket's.

    Raises:
        TypeError: something has a value that cannot be carried.
    """
    runs = children.of_kind("run")
    return {
        "wire": VERSION,
        "workers": [_leave_worker(worker) for worker in works.workers.all()],
        "zygotes": [_leave_zygote(zygote) for zygote in works.zygotes.serving()],
        "slots": {
            name: {"failures": slot.failures, "error": slot.error and slot.error.as_dict()}
            for name, slot in works.zygotes.slots.items()
        },
        "programs": {"count": works.programs.count, "running": [_leave_child(c) for c in runs]},
        "pace": plain.attributes(works.parts.pace),
        "groups": {name: list(group.times) for name, group in works.parts.groups.all()},
        "strays": [[pid, plain.encode(end)] for pid, end in reaper.hand_over().items()],
        "spawns": works.spawner.count,
        "heard": [[pid, data.hex(), fds] for pid, data, fds in works.notify.hand_over()],
        "notify": works.notify.fileno(),
        "lock": works.runtime.lock_fd,
    }


def descriptors(data: Data) -> list[int]:
    """All that must stay open over the exec."""
    found = [data["lock"], data["notify"], *(zygote["link"] for zygote in data["zygotes"])]
    found += [zygote["child"]["pidfd"] for zygote in data["zygotes"]]
    found += [descriptor for _, _, fds in data["heard"] for descriptor in fds]
    found += [program["pidfd"] for program in data["programs"]["running"]]
    for worker in data["workers"]:
        kept = (worker["child"], (worker["retiring"] or {}).get("child"))
        found += [child["pidfd"] for child in kept if child]
        found += worker["sockets"].values()
    return found


def arrive(data: Data, works: Works, children: Children, reaper: Reaper) -> dict[int, Any]:
    """The inverse of `leave`. What happened meanwhile is noticed as soon as the loop runs.

    Returns:
        pid -> the future of the wait status of each program that runs.
    """
    reaper.take_over({pid: plain.decode(end) for pid, end in data["strays"]})
    for _, _, fds in data["heard"]:
        for descriptor in fds:
            os.set_inheritable(descriptor, False)
    works.notify.take_over([(pid, bytes.fromhex(said), fds) for pid, said, fds in data["heard"]])
    works.spawner.count = data["spawns"]
    rate = works.parts.pace.rate
    plain.restore(works.parts.pace, data["pace"])
    works.parts.pace.rate = rate
    for name, times in data["groups"].items():
        works.parts.groups.of(name).times.extend(times)
    for zygote in data["zygotes"]:
        _arrive_zygote(zygote, data["wire"] == VERSION, works, children)
    for name, slot in data["slots"].items():
        if name in works.zygotes.slots:
            works.zygotes.slots[name].failures = slot["failures"]
            error = slot["error"]
            works.zygotes.slots[name].error = ZygoteError.from_dict(error) if error else None
    for worker in data["workers"]:
        _arrive_worker(worker, works, children)
    works.programs.count = data["programs"]["count"]
    running = data["programs"]["running"]
    programs = [_arrive_child(each, works, children) for each in running]
    return {child.pid: works.programs.follow(child) for child in programs}


def report(data: Data, now: float) -> ReexecReport:
    """What came over.

    Args:
        now: monotonic seconds.
    """
    return ReexecReport(
        pid=os.getpid(),
        before=data["version"],
        version=__version__,
        python=sys.version.split()[0],
        seconds=round(now - data["began"], 3),
        workers=sum(worker["child"] is not None for worker in data["workers"]),
        zygotes=len(data["zygotes"]) if data["wire"] == VERSION else 0,
        programs=len(data["programs"]["running"]),
        connections=len(data["connections"]),
    )


def told(report: ReexecReport) -> str:
    """The same in a line."""
    return (
        f"done after={report.seconds:.3f}s version={report.version} before={report.before} "
        f"workers={report.workers} zygotes={report.zygotes}"
    )


# Processes


def _leave_child(child: Child) -> Data:
    return {
        "pid": child.pid,
        "pidfd": child.pidfd,
        "kind": child.kind,
        "name": child.name,
        "session": child.session,
        "ours": child.ours,
        "oom_kills": child.oom_kills,
        "leaf": _leave_leaf(child.leaf),
    }


def _leave_leaf(leaf: Leaf | None) -> Data | None:
    return {"path": str(leaf.path), "oom_before": leaf.oom_before} if leaf else None


def _arrive_child(
    data: Data, works: Works, children: Children, spec: WorkerSpec | None = None
) -> Child:
    leaf = data["leaf"]
    child = Child(
        pid=data["pid"],
        pidfd=data["pidfd"],
        kind=data["kind"],
        name=data["name"],
        ended=asyncio.get_running_loop().create_future(),
        leaf=works.leaves.again(leaf["path"], leaf["oom_before"], spec) if leaf else None,
        session=data["session"],
        ours=data["ours"],
    )
    os.set_inheritable(child.pidfd, False)
    children.add(child)
    child.oom_kills = data["oom_kills"]  # one that was killed meanwhile counts
    return child


# Zygotes


def _leave_zygote(zygote: Zygote) -> Data:
    assert zygote.child
    return {
        "name": zygote.spec.name,
        "spec": asdict(zygote.spec),
        "generation": zygote.generation,
        "layout": zygote.layout,
        "report": zygote.report,
        "link": zygote.link,
        "child": _leave_child(zygote.child),
    }


def _arrive_zygote(data: Data, speaks: bool, works: Works, children: Children) -> None:
    """One that speaks another protocol is let go: its link closes, and the next is baked."""
    spec = zygote_from_json(data["spec"])
    child = _arrive_child(data["child"], works, children)
    if child.leaf:
        leaf = child.leaf
        child.ended.add_done_callback(lambda _: leaf.remove())
    if not speaks:
        os.close(data["link"])
        return
    sock = socket.socket(fileno=data["link"])
    sock.set_inheritable(False)
    works.zygotes.resume(spec, data["generation"], sock, child, data["report"], data["layout"])


# Workers


def _leave_worker(worker: Worker) -> Data:
    unit, retiring = worker.unit, worker.retiring
    said = unit.state is State.READY and unit.spec.type == "notify"
    return {
        "record": worker.record.content(said),
        "pending": worker_to_json(worker.pending) if worker.pending else None,
        "unit": plain.attributes(unit, UNIT),
        "policy": plain.attributes(unit.policy, POLICY),
        "budget": plain.attributes(worker.budget),
        "more": {
            name: value
            for name, value in vars(worker).items()
            if isinstance(value, bool | int | float | str) and not name.startswith("_")
        },
        "sockets": worker.store.hand_over(),
        "automatic": worker.needs.automatic,
        "child": _leave_child(worker.child) if worker.child else None,
        "retiring": _leave_retiring(retiring) if retiring else None,
    }


def _leave_retiring(retiring: Retiring) -> Data:
    return {
        "child": _leave_child(retiring.child),
        "identity": plain.encode(retiring.identity),
        "started_at": retiring.started_at,
        "ending": retiring.ending,
        "spec": worker_to_json(retiring.spec) if retiring.spec else None,
    }


def _arrive_worker(data: Data, works: Works, children: Children) -> None:
    spec = worker_from_json(data["record"]["spec"])
    worker = works.workers.find(spec.name) or works.workers.add(spec)
    worker.respec(spec)
    worker.pending = worker_from_json(data["pending"]) if data["pending"] else None
    worker.needs.automatic = data["automatic"]
    plain.restore(worker.unit, data["unit"])
    plain.restore(worker.unit.policy, data["policy"])
    plain.restore(worker.budget, data["budget"])
    plain.restore(worker, data["more"])
    worker.store.take_over(data["sockets"])
    child = _arrive_child(data["child"], works, children, spec) if data["child"] else None
    retiring = None
    if left := data["retiring"]:
        old = _arrive_child(left["child"], works, children)
        retiring = Retiring(
            old, old.leaf, works.parts, plain.decode(left["identity"]), left["started_at"]
        )
        retiring.spec = worker_from_json(left["spec"]) if left["spec"] else None
        if left["ending"]:
            retiring.resume(spec.stop_grace)
    takeover.resume(worker, child, retiring, data["record"])
