"""The checked fleet as plain dataclasses: all that the manager imports of this package.

`python -m zygote.fleet FILE` validates a fleet file with pydantic in a process that ends, and
prints what `Fleet.from_json` reads here. So the manager never pays for the checker, and a bad
file can hurt only the checker. Seconds are float, bytes are int; None means "not set".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT = 1
"""Version of the JSON between the checker and the manager."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker runs.

    `kind` is "module" (as python -m), "function" (module:function) or "file".
    """

    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class ZygoteSpec:
    """One zygote: what it imports once and what it runs to warm up before it freezes."""

    name: str
    preload: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    """`module:function` each, called with no argument after the imports; may be async."""
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    """Absolute; the fleet file's folder by default. It is `sys.path[0]` of the zygote."""
    path: tuple[str, ...] = ()
    """Absolute folders put in front of sys.path."""
    python: str = ""
    """Interpreter; "" is the manager's own."""
    bake: tuple[str, ...] | None = None
    """Optional stages to run; None is all of them."""
    bake_timeout: float = 120.0
    allow: dict[str, str] = field(default_factory=dict)
    """Audit rule -> reason why its finding is accepted."""
    parent: str = ""
    """The zygote that it is forked from; "" is none."""
    memory_low: int | None = None
    """Bytes that the kernel takes last; None: what it weighs when it has baked."""
    blanks: int = 0
    """Clones of it that are kept ready."""
    user: str | None = None
    """Who it imports as; None: the manager's."""
    place: str = ""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker, all defaults and its template already merged in. `name` may be `tmpl@inst`."""

    name: str
    zygote: str
    run: Run
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    """Added to the manager's own environment."""
    cwd: str = ""
    umask: int = 0o022
    autostart: bool = True
    after: tuple[str, ...] = ()
    """Workers that must be ready before this one starts."""
    type: str = "simple"
    """"simple": ready when up. "notify": ready when it says READY=1."""
    restart: str = "on-failure"
    """"no", "on-failure" or "always"."""
    restart_delay: float = 0.2
    """First backoff; the very first restart is immediate."""
    restart_max_delay: float = 30.0
    stable_after: float = 10.0
    """Up for so long: the backoff starts over."""
    start_limit: int = 10
    """At most so many automatic restarts in `start_limit_interval`, else failed. 0: no limit."""
    start_limit_interval: float = 300.0
    max_restarts: int = 0
    """Of all instances of its template in `max_restarts_per`, else failed. 0: no limit."""
    max_restarts_per: float = 60.0
    start_timeout: float = 30.0
    """From spawn to ready."""
    stop_signal: str = "SIGTERM"
    stop_grace: float = 5.0
    watchdog: float | None = None
    memory_max: int | None = None
    memory_high: int | None = None
    max_private: int | None = None
    """The budget of private memory, beyond which it is recycled."""
    recycle_grace: float = 30.0
    recycle_interval: float = 600.0
    refork: bool = False
    """It may be asked to become the mold of its zygote's next generation."""
    overlap: bool = False
    """One that is recycled, or moved to a new generation, goes when its successor is ready."""
    max_regression: int | None = 16 * 1024 * 1024
    """Private bytes that its successor of a new generation may have more than it had."""
    priority: int | None = None
    """Under memory pressure the lowest is stopped first; None: not for that reason."""
    tasks_max: int | None = None
    cpu_weight: int | None = None
    cpu_max: float | None = None
    """CPUs: 0.5 is half of one."""
    nice: int | None = None
    oom_score_adj: int | None = None
    cpu_affinity: tuple[int, ...] | None = None
    rlimits: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Lower-case name without RLIMIT_ ("nofile") -> (soft, hard); -1 is infinity."""
    user: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    """Capabilities kept (upper case, "CAP_NET_RAW"); None: unchanged; (): none."""
    no_new_privs: bool = False
    isolation: str = "none"
    """"none", "exec", or "class:NAME": `zygote` is then the class's own."""
    private_network: bool = False
    private_tmp: bool = False
    read_only_paths: tuple[str, ...] = ()
    """Absolute; in these, in landlock and in credentials a leading %t is the runtime folder."""
    landlock: dict[str, tuple[str, ...]] | None = None
    """read, write, execute: absolute paths; bind, connect: ports. None: no landlock."""
    seccomp: tuple[str, ...] | None = None
    """Words of an allow-list: calls and @groups, ~ takes away."""
    address_families: tuple[str, ...] | None = None
    seccomp_filter: str = ""
    """The program that the two come to on this machine, base64."""
    seccomp_said: str = ""
    """The two in short, for `status`."""
    credentials: dict[str, str] = field(default_factory=dict)
    """Name -> absolute path."""
    control: str = "all"
    """What it may ask of the manager: "all", "read" or "none"."""
    walls: str = "require"
    """"require": a wall that cannot be had ends the start. "report": it is left out and told."""
    title: str = ""
    """Process title; "" is "FLEET: NAME"."""
    log_max_bytes: int = 8 * 1024 * 1024
    log_keep: int = 2
    """Rotated log files kept beside the live one."""
    place: str = ""
    """Where it stands: "fleet.toml:31"."""

    @property
    def is_copy(self) -> bool:
        """Forked from its zygote; else only interpreter, folder and path are that one's."""
        return self.isolation != "exec"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The whole checked fleet. `templates` are keyed "decoy@" and have that name."""

    name: str
    file: str
    digest: str
    """sha256 of the file's bytes, hex."""
    zygotes: dict[str, ZygoteSpec]
    workers: dict[str, WorkerSpec]
    templates: dict[str, WorkerSpec]
    order: tuple[str, ...]
    """Every worker, start order (after before); stopped in reverse."""
    runtime_dir: str = ""
    """Absolute, or "" for the default."""
    log_dir: str = ""
    """Absolute, or "" for RUNTIME/logs."""
    warnings: tuple[str, ...] = ()
    restart_rate: float = 0.0
    """Automatic restarts a second of all workers together; 0: no limit."""
    max_surge: int = 1
    """Workers that have a successor beside them at a time, while a new generation takes over."""
    max_unavailable: int = 0
    """Workers that are stopped first at a time, then; see `zygote.manager.moves`."""
    min_ready: float = 0.5
    """Seconds that a successor must have been ready before its predecessor goes."""
    memory_reserve: int = 32 * 1024 * 1024
    """Bytes of memory that must stay available while old and new are there together."""
    operators: str = ""
    """Group whose members may do all on the control socket; "" is none."""
    readers: str = ""
    """Group whose members may read there; "all": everybody; "" is none."""
    pressure_limit: float | None = None
    """Share of time (0.3) that something may wait for memory before workers are stopped."""
    pressure_duration: float = 10.0
    """Between one stop and the next."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fleet:
        """Build from the checker's output.

        Raises:
            ValueError: the checker is of another version.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"fleet format {data.get('format')!r}, this manager reads {FORMAT}")
        made: dict[str, Any] = {
            "zygotes": {k: zygote_from_json(v) for k, v in data["zygotes"].items()},
            "workers": {k: worker_from_json(v) for k, v in data["workers"].items()},
            "templates": {k: worker_from_json(v) for k, v in data["templates"].items()},
        }
        # What the other side does not know of yet has its default here.
        fleet: Fleet = _build(cls, {k: v for k, v in data.items() if k != "format"} | made)
        return fleet


def worker_from_json(data: dict[str, Any]) -> WorkerSpec:
    """One worker from its JSON object, as the checker and the state file hold it."""
    parts = dict(data)
    parts["run"] = Run(**parts["run"])
    parts["rlimits"] = {k: (v[0], v[1]) for k, v in parts.get("rlimits", {}).items()}
    if parts.get("landlock") is not None:
        parts["landlock"] = {k: tuple(v) for k, v in parts["landlock"].items()}
    spec: WorkerSpec = _build(WorkerSpec, parts)
    return spec


def zygote_from_json(data: dict[str, Any]) -> ZygoteSpec:
    """One zygote from its JSON object."""
    spec: ZygoteSpec = _build(ZygoteSpec, data)
    return spec


def worker_to_json(spec: WorkerSpec) -> dict[str, Any]:
    """The inverse of `worker_from_json`."""
    return asdict(spec)


def instantiate(template: WorkerSpec, instance: str) -> WorkerSpec:
    """`decoy@` and "ssh" -> the worker `decoy@ssh`, with `%i` replaced by the instance's name.

    `%i` is replaced in run, args, env values, cwd, user, group, title, after, and in the paths of
    landlock, read_only_paths and credentials; `%%` is a `%`.
    """

    def fill(text: str) -> str:
        return "%".join(part.replace("%i", instance) for part in text.split("%%"))

    changed: dict[str, Any] = {f.name: getattr(template, f.name) for f in fields(template)}
    changed["name"] = template.name + instance
    changed["run"] = Run(template.run.kind, fill(template.run.target))
    for key in ("args", "after", "read_only_paths"):
        changed[key] = tuple(fill(text) for text in changed[key])
    for key in ("env", "credentials"):
        changed[key] = {k: fill(v) for k, v in changed[key].items()}
    if template.landlock is not None:
        changed["landlock"] = {k: tuple(map(fill, v)) for k, v in template.landlock.items()}
    for key in ("cwd", "user", "group", "title"):
        if changed[key]:
            changed[key] = fill(changed[key])
    return WorkerSpec(**changed)


def _build(cls: Any, data: dict[str, Any]) -> Any:
    """A dataclass from JSON, lists made tuples."""
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
