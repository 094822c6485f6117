"""`io.zygote.Manager`: the Varlink interface of the control socket, as typed Python.

The interface file in the repository (`zygote/control/io.zygote.Manager.varlink`) is rendered
from this class; a test holds the two equal. The manager subclasses it; clients use it as a stub.
"""

# No `from __future__ import annotations`: asyncvarlink reads the live annotations.

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from asyncvarlink import FileDescriptor, TypedVarlinkErrorReply, VarlinkInterface, varlinkmethod

NAME = "io.zygote.Manager"


@dataclass
class WorkerState:
    """One worker as the manager sees it. Memory is read by clients from /proc."""

    name: str
    state: str  # inactive starting up ready stopping backoff failed unknown
    pid: int | None = None
    ready: bool = False
    status: str = ""  # the worker's own STATUS=
    since: float = 0.0  # wall clock, seconds since the epoch, of the last change of state
    started_at: float | None = None  # wall clock of this process's start
    restarts: int = 0  # automatic ones, since the manager first knew it
    recycles: int = 0  # because it was beyond max_private, since the manager first knew it
    zygote: str = ""  # that it is a copy of; "" for one that is started by exec
    isolation: str = "none"  # none, exec or class:NAME, as configured
    layout: str = ""  # of a copy: "NAME.GENERATION" of the exec whose address layout it has
    generation: int = 0
    spawn_ms: float | None = None  # from Spawn sent to the user's code about to run
    fork_ms: float | None = None  # of spawn_ms: until the first line of its own set-up
    origin: str = ""  # "blank", or "clone" and why not a blank where its zygote has some
    ready_ms: float | None = None  # from Spawn sent to READY
    memory_max: int | None = None  # bytes, as configured
    memory_high: int | None = None  # bytes, as configured
    throttled: int = 0  # with memory_high: how often this process was held up above it
    peak: int | None = None  # bytes: the most private memory of any process of its; null: unknown
    priority: int | None = None  # lowest is stopped first under memory pressure; null: never
    max_private: int | None = None  # bytes, as configured
    private: int | None = None  # with max_private: bytes, when the manager last looked
    limits_enforced: bool = False
    walls: list[str] = field(default_factory=list)  # that stand around it, as it reported
    gaps: list[str] = field(default_factory=list)  # walls asked for that do not stand, and why
    cgroup: str = ""  # absolute path of the leaf, or ""
    log: str = ""  # absolute path of the live log file
    adopted: bool = False
    autostart: bool = True
    last_end: str = ""  # exited(0) signalled(SIGKILL) oom_killed watchdog_expired unknown
    last_end_detail: str = ""  # of oom_killed: limit and peak
    last_end_at: float | None = None
    next_start_at: float | None = None  # in backoff: when
    error: str = ""  # why failed or in backoff, one line
    hint: str = ""
    place: str = ""
    outdated: str = ""  # a file on disk that is newer than what runs, "PATH" or "PATH and 2 more"


@dataclass
class ZygoteState:
    """One zygote as the manager sees it."""

    name: str
    state: str  # baking ready failed dead
    pid: int | None = None
    generation: int = 0
    parent: str = ""  # the zygote that it was forked from
    python: str = ""
    spawn_path: str = ""  # clone3 | clone | fork, and why if not clone3
    blanks: int = 0  # clones of it that are to wait for a spawn
    blank_pids: list[int] = field(default_factory=list)  # those that do
    blank_spawns: int = 0  # of this generation: spawns that took one
    blank_misses: int = 0  # of this generation: spawns that found none
    blank_trouble: str = ""  # why there are fewer than there should be
    bake_seconds: float | None = None
    modules: int = 0
    stages: list[str] = field(default_factory=list)  # "freeze: 212345 objects", one line a stage
    findings: list[str] = field(default_factory=list)  # "warning RULE: …" of its audit
    log: str = ""
    error: str = ""
    hint: str = ""
    outdated: str = ""  # a file on disk that is newer than what was imported
    next_pid: int | None = None  # of the generation that a reload has made beside it
    next_generation: int = 0
    next_state: str = ""  # baking ready


@dataclass
class ManagerState:
    """The manager itself."""

    version: str
    pid: int
    fleet: str
    file: str
    runtime_dir: str
    log_dir: str
    started_at: float
    python: str
    spawns: int = 0
    limits: str = ""  # "enforced" or "not enforced: why"
    notices: list[str] = field(default_factory=list)
    fleet_changed: bool = False  # the file on disk differs from what runs
    stopping: bool = False


@dataclass
class Result:
    """What came of one name in a verb. `ok` false: `error` and `hint` say why."""

    name: str
    ok: bool
    pid: int | None = None
    state: str = ""
    spawn_ms: float | None = None
    error: str = ""
    hint: str = ""
    code: str = ""
    step: str = ""
    errno: int = 0


@dataclass
class Event:
    """One line of `events`. `seq` rises by one; a gap means that a slow reader lost some."""

    seq: int
    at: float  # wall clock
    event: str  # starting up ready status stopping ended backoff failed adopted rotated zygote …
    subject: str  # worker or zygote name, or "manager"
    pid: int | None = None
    detail: str = ""


@dataclass
class RunReport:
    """First `pid` is set, then `code` (exit status) or `signal` (number) of the end."""

    pid: int | None = None
    code: int | None = None
    signal: int | None = None


@dataclass
class RollStep:
    """One step of a reload. The last one is "done", with the counts."""

    at: float  # wall clock
    step: str  # baking baked moving moved tight promoted going-back went-back stays done
    subject: str  # worker, "zygote.NAME", or "manager"
    detail: str = ""
    zygotes: int = 0  # done: baked
    workers: int = 0  # done: moved
    seconds: float = 0.0  # done: of all


@dataclass
class ReexecReport:
    """What the manager is after `Reexec`: the same process, and all that it carried over."""

    pid: int
    before: str  # version that ran before
    version: str
    python: str
    seconds: float  # from the call to this answer
    workers: int = 0  # processes that it kept
    zygotes: int = 0
    programs: int = 0
    connections: int = 0


class Failed(TypedVarlinkErrorReply, interface=NAME):
    """A call failed as a whole; the parts are those of `zygote.errors.ZygoteError`."""

    class Parameters:
        code: str
        message: str
        hint: str
        place: str
        step: str
        errno: int
        exit_code: int


class ManagerInterface(VarlinkInterface, name=NAME):
    """Drives a fleet: who may call what is decided by the caller's uid (peer credentials)."""

    errors = (Failed,)

    @varlinkmethod(return_parameter="status")
    def Status(self) -> ManagerState:
        """The manager, its fleet and what is not as wished."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="zygotes")
    def Zygotes(self) -> list[ZygoteState]:
        """All zygotes, live generations first."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="workers")
    def List(self, *, names: list[str] | None = None) -> list[WorkerState]:
        """Workers in start order; `names` narrows (a template "decoy@" names all its instances)."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="results")
    async def Spawn(
        self, *, names: list[str], wait: str | None = None, timeout: float | None = None
    ) -> list[Result]:
        """Start workers. `wait`: "no", "up" or "ready" (default). Running ones are left as is."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="results")
    async def Stop(self, *, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop gracefully (stop_signal, stop_grace, then kill) and keep stopped."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="results")
    async def Restart(self, *, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop, then start and wait for ready; an inactive one is started."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="results")
    def Kill(self, *, names: list[str], signal: str) -> list[Result]:
        """Send a signal ("SIGUSR1") to the main process; the restart policy applies as ever."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="event")
    async def Events(self, *, follow: bool = True, last: int = 0) -> AsyncIterator[Event]:
        """The last `last` events, then (follow) each as it happens."""
        raise NotImplementedError
        yield

    @varlinkmethod(return_parameter="changes")
    async def Reload(self) -> list[str]:
        """Re-read the fleet file, as SIGHUP does; one line for each change made or pending."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="step")
    async def Roll(
        self,
        *,
        zygotes: list[str] | None = None,
        workers: list[str] | None = None,
        force: bool = False,
    ) -> AsyncIterator[RollStep]:
        """Bake zygotes that are older than the code on disk anew, and move workers over.

        `zygotes`, `workers`: only these, up to date or not; `force`: all. A reply for each step;
        it goes on if the connection is closed. An error: the old generation serves on.
        """
        raise NotImplementedError
        yield

    @varlinkmethod(return_parameter="report")
    async def Reexec(self, *, timeout: float | None = None) -> ReexecReport:
        """Become the code on disk, in the same process: workers, zygotes and connections stay.

        `timeout`: seconds for calls in progress to be answered (30). An error: nothing changed.
        """
        raise NotImplementedError

    @varlinkmethod(return_parameter="step")
    async def Refork(self, *, worker: str, move: bool = False) -> AsyncIterator[RollStep]:
        """Fork a warm worker (`refork = true`) to be the next generation of its zygote.

        `move`: and move the workers of that zygote over. Replies and errors as of Roll.
        """
        raise NotImplementedError
        yield

    @varlinkmethod
    def Shutdown(self) -> None:
        """Stop everything in reverse order and end. Answers at once; watch the socket close."""
        raise NotImplementedError

    @varlinkmethod(return_parameter="report")
    async def Run(
        self,
        *,
        zygote: str | None,
        kind: str,
        target: str,
        args: list[str],
        env: dict[str, str],
        cwd: str,
        umask: int,
        stdin: FileDescriptor,
        stdout: FileDescriptor,
        stderr: FileDescriptor,
    ) -> AsyncIterator[RunReport]:
        """Run any program in a copy of a zygote, on the caller's stdio.

        kind: module, file or command (python -c). Two replies: {pid} once it is up, then its
        end. Closing the connection hangs the program up (SIGHUP, then SIGKILL after a grace).
        """
        raise NotImplementedError
        yield
