"""A worker that never was: which code runs on the way from a clone to an idle event loop.

A clone of a clone goes through the real set-up and runs a coroutine, while a profile function that
the first one set notes the code objects that are entered, from CPython's own at-fork hooks on.
Their addresses are the same in zygote and clone, so a list of numbers says it all. Nothing else of
the two remains. It is done for each way to name a program but `file`.

Another one, in which nothing is watched, tells what it has looked up (`zygote.bake.lookups`).
"""

from __future__ import annotations

import array
import base64
import contextlib
import gc
import json
import os
import socket
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import CodeType, FrameType, FunctionType
from typing import Any, NoReturn

from zygote.bake.lookups import Seen, Table
from zygote.errors import ZygoteError
from zygote.forkserver.loop import serve
from zygote.sys import backed, fds
from zygote.warming import TRACING, is_aside, watch_parts
from zygote.wire.link import Link
from zygote.wire.messages import Kind, Packet

_LOOP = (
    "zygote.forkserver.blank",
    "zygote.forkserver.loop",
    "zygote.forkserver.paths",
    "zygote.sys.clone3",
    "zygote.sys.fds",
    "zygote.sys.parking",
    "zygote.wire.link",
    "zygote.wire.messages",
)
_ONWARDS = ("_run", "live", "_become")
"""Of `zygote.forkserver.__main__`, which goes by the name of `__main__`."""
_PASS_ALL = base64.b64encode(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)).decode()
"""A filter of one instruction: return, allowed."""
_WAYS = (
    {"kind": "function", "target": f"{__name__}:perform"},
    {"kind": "module", "target": "zygote.forkserver.rehearsal"},
    {"kind": "command", "target": "import zygote.forkserver.rehearsal"},
)
"""The first one must succeed."""
_entered: dict[int, None] = {}
_parts: dict[str, dict[int, None]] = {}


def run() -> dict[int, None]:
    """The ids of all code objects that a worker enters until its event loop is idle, in order.

    Those of the zygote's own loop, which are entered around each clone, come first.

    Raises:
        ZygoteError: the rehearsal ended before that.
    """
    entered = _of_the_loop()
    for told in _run_all(sys.setprofile):
        entered |= dict.fromkeys(array.array("Q", told))
    return entered


def look_up() -> list[Seen]:
    """What a worker has looked up in classes until its event loop is idle.

    Raises:
        ZygoteError: the rehearsal ended before that.
    """
    return [Seen(*each) for told in _run_all(None) for each in json.loads(told)]


def trace(
    work: Callable[[], None], then: Callable[[], Iterable[int]] = tuple
) -> list[dict[int, None]]:
    """The ids of all code objects that `work` enters in a clone of this process, and its threads'.

    In the order of their first entries. First those that come before any part
    (`zygote.warming.part`), then those of each part; what goes on aside is left out. Last come the
    ids that `then` gives in the clone afterwards.

    Raises:
        ZygoteError: it raised there, or this Python cannot tell (before 3.12).
    """
    if sys.version_info < (3, 12):
        raise ZygoteError("code that runs cannot be watched cheaply before Python 3.12")
    script = os.memfd_create("trace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as above
            pid = os.fork()
        if pid == 0:
            try:
                os.environ[TRACING] = "1"
                _note_starts()
                work()
                for part in (*_parts.values(), then()):
                    os.write(script, array.array("Q", [*part, 0]).tobytes())
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        if status:
            raise ZygoteError(f"a rehearsed warm-up ended with wait status {status}")
        return _split(array.array("Q", os.pread(script, os.fstat(script).st_size, 0)))
    finally:
        os.close(script)


def _split(ids: array.array[int]) -> list[dict[int, None]]:
    """Parts that end with a zero each."""
    parts: list[dict[int, None]] = [{}]
    for one in ids:
        if one:
            parts[-1][one] = None
        else:
            parts.append({})
    return parts[:-1]


def _of_the_loop() -> dict[int, None]:
    """The loop's own code: what it writes to, worker after worker, had better be few pages.

    And the way from there to the set-up.
    """
    main: Any = sys.modules["__main__"]
    onwards = [one for name in _ONWARDS if (one := getattr(main, name, None))]
    return {
        id(thing.__code__): None
        for thing in (*gc.get_objects(), *onwards)
        if type(thing) is FunctionType and (thing in onwards or thing.__module__ in _LOOP)
    }


def read() -> None:
    """Read a request as a worker does, and drop it."""
    parse: Any = sys.modules["zygote.child.request"].parse
    parse(json.dumps(_request(_WAYS[0])).encode(), (0, 1, 2, 3, 4), bytes(16))


def _run_all(watch: Callable[[Any], None] | None) -> list[bytes]:
    """What a worker of each way has told; without those, but for the first, that ended early."""
    told = [_run(_WAYS[0], watch)]
    for way in _WAYS[1:]:
        with contextlib.suppress(ZygoteError):  # less is known then
            told.append(_run(way, watch))
    return told


def _run(way: dict[str, str], watch: Callable[[Any], None] | None) -> bytes:
    """What a rehearsed worker has told.

    Args:
        watch: sets the profile function of the worker; None: it is not watched.
    """
    script, record, report = (os.memfd_create("rehearsal") for _ in range(3))
    null = os.open(os.devnull, os.O_RDWR)
    try:
        status = _fork(way, watch, (null, script, null, record, report))
        data = os.pread(script, os.fstat(script).st_size, 0)
    finally:
        fds.close((script, record, report, null))
    if status or not data:
        raise ZygoteError(f"a rehearsed worker ended with wait status {status}")
    return data


def _fork(way: dict[str, str], watch: Callable[[Any], None] | None, passed: tuple[int, ...]) -> int:
    with warnings.catch_warnings():
        # Python warns of threads, which the audit knows of: they were allowed, with a reason.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            body = json.dumps(_request(way)).encode()
            Link(ours).send(Packet(Kind.SPAWN, bytes(16), body=body, fds=passed))
            # Profiling marks all code that runs later, even when it is off again: never here.
            if watch:
                watch(_note)
            worker = os.fork()
            if worker == 0:
                _live(Link(theirs))
            os._exit(1 if os.waitpid(worker, 0)[1] else 0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return status


def _live(link: Link) -> NoReturn:
    """Go the way of a clone, from the request on."""
    main: Any = sys.modules["zygote.forkserver.__main__"]
    cloned = replace(main.spawn_path(), spawn=lambda _cgroup: (0, -1))
    main.live(serve(link, cloned), cloned)
    os._exit(1)  # it does not come back


def _request(way: dict[str, str]) -> dict[str, Any]:
    return {
        "worker": "rehearsal",
        "run": way,
        "fds": ["stdin", "stdout", "stderr", "record", "report"],
        "env": dict(os.environ) | {"ZYGOTE_REHEARSAL": "1"},  # one that the zygote has not
        "cwd": os.getcwd(),  # noqa: PTH109
        "title": "rehearsal",
        # Walls that let pass what a rehearsal does: their code is entered by workers, too.
        "no_new_privs": True,
        "capabilities": [],
        "walls": {
            "report": True, "gaps": [], "network": False, "tmp": False, "keep": [],
            "read_only": [], "landlock": {"read": ["/"], "connect": []},
            "seccomp": _PASS_ALL, "seccomp_words": "",
        },
    }  # fmt: skip


def _note_starts() -> None:
    """Note each code object when a part first enters it, in any thread. See: sys.monitoring."""
    monitoring: Any = vars(sys)["monitoring"]  # from 3.12
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, __name__)
    part = _parts.setdefault("", {})

    def started(code: CodeType, _offset: int) -> Any:
        if is_aside():
            return None  # somebody else may still enter it
        part[id(code)] = None
        return monitoring.DISABLE

    def begin(name: str) -> None:
        nonlocal part
        part = _parts.setdefault(name, {})
        monitoring.restart_events()

    watch_parts(begin)
    monitoring.register_callback(tool, monitoring.events.PY_START, started)
    monitoring.set_events(tool, monitoring.events.PY_START)


def _note(frame: FrameType, event: str, _argument: Any) -> None:
    if event == "call":
        _entered[id(frame.f_code)] = None


async def perform() -> None:
    """The program of the rehearsal: what an idle worker does, then the notes, then nothing."""
    await sys.modules["asyncio"].sleep(1e-3)
    backed.restore()  # what `zygote.memory.reshare` does where nobody watches
    told = array.array("Q", _entered).tobytes()
    if sys.getprofile() is None:
        told = json.dumps(Table().read()).encode()
    sys.setprofile(None)
    os.write(1, told)
    os._exit(0)
