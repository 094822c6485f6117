"""The zygote process: `python -m zygote.forkserver --link FD --name NAME`, started by the manager.

One thread, one socket, no event loop. It bakes what the first packet tells it to, says what came
of it, and then makes a worker for each request until the manager hangs up. Workers live on.

Exit status: 0 the manager hung up; 1 the bake failed, and was told so; 2 wrong usage; 70 a fault
of ours in a clone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import zygote.sys.ffi  # noqa: F401 - before all that imports ctypes
from zygote.audit import atexits
from zygote.bake import pipeline, seal, selftest
from zygote.bake.stage import Bake, Stage
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.forkserver import person, preload, prints, rehearse
from zygote.forkserver.loop import Order, serve
from zygote.forkserver.options import parse
from zygote.forkserver.paths import Path, choose
from zygote.sys import fds, malloc, prctl
from zygote.sys.stderr import say
from zygote.wire.link import Link
from zygote.wire.messages import Kind, Packet

if TYPE_CHECKING:
    from zygote.child.mold import Past

_FAULT = 70
_kept: list[object] = []
"""What was made before the heap was sealed and would be dropped after: it would leave holes."""
_path: Path | None = None


def main() -> tuple[Order | None, Path | None]:
    """Bake and serve.

    Returns:
        In the zygote None; in a clone what it is to become, and the path that it came by.
    """
    gc.disable()  # for good, but for the warm-up: see zygote.bake.collect, warm and freeze
    options = parse()
    fds.close_others([0, 1, 2, options.link])
    try:
        link = Link.from_fd(options.link)
    except OSError as error:
        say(f"zygote: --link {options.link}: {error}")
        sys.exit(Exit.USAGE)
    _settle(options.name)
    malloc.limit_arenas(1)
    path = _bake(link, lambda: choose(options.spawn_path))
    return (serve(link, path), path) if path else (None, None)


def branch(order: Order, path: Path) -> Order | None:
    """In a clone of a baked zygote: be a zygote with a link of its own, and bake what is added.

    What was inherited is frozen: the stages see and change what is new.

    Returns:
        In the branch None, when its manager hung up; in a clone of it what that is to become.
    """
    link_fd, log = order.fds
    os.dup2(log, 1)
    os.dup2(log, 2)
    fds.close_others([0, 1, 2, link_fd])
    os.setpgid(0, 0)
    link = Link.from_fd(link_fd)
    _settle("branch")
    if not _bake(link, lambda: path, inherits=True):
        return None
    return serve(link, path)


def mold(link_fd: int, past: Past, forget: Callable[[Bake], str]) -> None:
    """In a clone of a worker that has put its descriptors away: be a zygote, and bake it.

    Args:
        past: what the zygote was that the worker was cloned from.
        forget: the first stage.
    """
    link = Link.from_fd(link_fd)
    _settle("mold")
    path = spawn_path()
    if not _bake(link, lambda: path, inherits=True, past=past, first=(Stage("forget", forget),)):
        _leave(Exit.DONE)
    live(serve(link, path), path)


def spawn_path() -> Path:
    """How this zygote, or the one that this is a clone of, makes processes."""
    assert _path
    return _path


def live(order: Order | None, path: Path | None) -> NoReturn:
    """Become what a clone is to become; end where there is nothing to become."""
    try:
        while order is not None and path is not None and order.kind is Kind.BRANCH:
            order = branch(order, path)
    except (BrokenPipeError, KeyboardInterrupt):
        order = None
    if order is not None:
        _become(order)
    _leave(Exit.DONE)


def _move_in(spec: ZygoteSpec) -> None:
    """What an exec would have given a zygote: its name, environment and folder."""
    prctl.set_name(f"zygote:{spec.name}")
    sys.modules["setproctitle"].setproctitle(f"zygote: {spec.name} (of {spec.parent})")
    os.environ.update(spec.env)
    if spec.cwd:
        os.chdir(spec.cwd)


def _settle(name: str) -> None:
    """What must be so before the first import of the floor."""
    prctl.set_name(f"zygote:{name}")
    # A bake looks at its link only between stages: without a manager it would go on for seconds,
    # beside the one that the next manager has begun. A clone does not inherit this.
    prctl.set_death_signal(signal.SIGKILL)
    # One touched byte of a huge page copies 2 MiB.
    prctl.set_thp_disable()
    atexits.record()


def _bake(
    link: Link,
    chosen: Callable[[], Path],
    *,
    inherits: bool = False,
    past: Past | None = None,
    first: tuple[Stage, ...] = (),
) -> Path | None:
    """The path to serve by; None if there is nothing to serve: hung up, or failed.

    Args:
        chosen: finds the path, or raises ZygoteError.
        inherits: this is a clone of a zygote that has been baked.
        past: of a mold: what that zygote was.
        first: stages before the import.
    """
    request = link.wait()
    if request is None:
        return None
    body, passed = link.read_body(request)
    fds.close(passed)
    began, inherited = time.time_ns(), frozenset(sys.modules) if inherits else frozenset()
    if past:  # what the worker imported meanwhile is not inherited
        began, inherited = past.since, past.modules
    global _path
    try:
        path = _path = chosen()
        spec = _spec(request.head.kind, body)
        selftest.check_build(spec.name, spec.place)
        owner = person.read(json.loads(body))
        person.step_down(owner)
        if inherits:
            _move_in(spec)
        bake = Bake(
            spec,
            link.fileno(),
            tell=lambda stage, detail: _tell(link, stage, detail),
            own=rehearse.read,
            rehearse=rehearse.run,
            look_up=rehearse.look_up,
            trace=rehearse.trace,
        )
        stages = pipeline.chosen(spec.bake)
        report = pipeline.run(bake, (*first, Stage("import", preload.run), *stages))
        sys.modules["zygote.child.finish"].mark_floor()
        atexits.stop()
        atexits.disown()
        person.step_up(owner)
    except ZygoteError as error:
        _tell_failed(link, error)
        _leave(Exit.FAILED)
    except Exception as error:
        # Before the manager is told, which may look into the log at once.
        say(traceback.format_exc().rstrip())
        _tell_failed(link, _fault(error))
        _leave(Exit.FAILED)
    report |= {
        "python": platform.python_version(),
        "spawn_path": path.name,
        "spawn_path_reason": path.reason,
        "modules": len(sys.modules),
        "blanks": True,
    }
    _kept.extend((request, body, bake, report, inherited, owner))
    _tell_baked(link, report, began, inherited)
    if any(stage["name"] == "seal" for stage in report["stages"]):
        seal.again()
    return path


def _spec(kind: Kind, body: bytes) -> ZygoteSpec:
    try:
        if kind is not Kind.BAKE:
            raise ValueError(f"the first packet is {kind.name}, not BAKE")
        parts: dict[str, Any] = json.loads(body)["spec"]
        for key in ("preload", "warm", "path"):
            parts[key] = tuple(parts[key])
        if parts.get("bake") is not None:
            parts["bake"] = tuple(parts["bake"])
        return ZygoteSpec(**parts)
    except (ValueError, KeyError, TypeError) as error:
        raise ZygoteError(
            f"cannot read what to bake: {error}",
            code="bad-bake",
            step="bake",
            hint="manager and zygote are of different versions: restart the manager",
        ) from error


def _fault(error: Exception) -> ZygoteError:
    """What is not the floor's doing, but ours or the system's."""
    return ZygoteError(
        f"cannot bake: {type(error).__name__}: {error}",
        code="bake-fault",
        step="bake",
        errno=getattr(error, "errno", 0) or 0,
        hint="the traceback is in the zygote's log",
    )


def _tell(link: Link, stage: str, detail: str) -> None:
    body = json.dumps({"stage": stage, "detail": detail}).encode()
    link.send(Packet(Kind.PROGRESS, body=body))


def _tell_baked(link: Link, report: dict[str, Any], began: int, inherited: frozenset[str]) -> None:
    """The report, and which files it was made of."""
    passed: tuple[int, ...] = ()
    try:
        passed = (prints.take(began, inherited),)
    except OSError as error:
        say(f"zygote: no fingerprints of its files: {error}")
    link.send(Packet(Kind.BAKED, body=json.dumps(report).encode(), fds=passed))
    fds.close(passed)


def _tell_failed(link: Link, error: ZygoteError) -> None:
    text = getattr(error, "traceback", "")
    findings = [finding.as_dict() for finding in getattr(error, "findings", [])]
    body = {**error.as_dict(), "traceback": text, "findings": findings}
    link.send(Packet(Kind.BAKE_FAILED, body=json.dumps(body).encode()))
    say(text or f"zygote: {error}")


def _leave(status: int) -> NoReturn:
    """End without finalisation: threads of a refused floor must not hold us up."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # its disk is full; or the floor has closed it
            stream.flush()
    os._exit(status)


def _become(order: Order) -> NoReturn:
    """Hand a clone over to the child set-up, which never comes back."""
    try:
        sys.modules["zygote.child.main"].become_worker(order.body, order.fds, order.spawn_id)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(_FAULT)


def _run() -> NoReturn:
    """Not at the end of the module, whose names would be written to by each clone."""
    try:
        order, path = main()
    except (BrokenPipeError, KeyboardInterrupt):
        order, path = None, None
    live(order, path)


if __name__ == "__main__":
    # A worker that becomes a mold finds us by this name, with what we know.
    sys.modules["zygote.forkserver.__main__"] = sys.modules["__main__"]
    _run()
