"""Every key of a fleet file: what it holds, what it means, what systemd calls it.

The reference page (`zygotectl help fleet-file`) is generated from this module. No default stands
here: those are the model's, so that a key left out and the key's default cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from zygote.fleet.kinds import (
    Account,
    Accounts,
    Affinity,
    Arguments,
    Capabilities,
    Control,
    CountLimit,
    Cpus,
    Credentials,
    Env,
    Families,
    Flag,
    Folder,
    Folders,
    Functions,
    Isolation,
    Kind,
    Landlock,
    Modules,
    Readiness,
    Restart,
    Rlimits,
    Run,
    Seccomp,
    Seconds,
    SecondsAboveZero,
    SecondsLimit,
    SignalName,
    Size,
    SizeLimit,
    Text,
    Texts,
    Umask,
    Walls,
)


def key(description: str, *, systemd: str = "", default: str = "", example: str = "") -> Any:
    """A key's field.

    Args:
        systemd: its name in systemd's unit files.
        default: said in words, where the model's default does not say it.
        example: a better one than its kind's.
    """
    return Field(
        default=None,
        description=description,
        json_schema_extra={"systemd": systemd, "default": default, "example": example},
    )


Count = Annotated[int, Field(ge=0, le=1_000_000), Kind("number", "1")]


class Table(BaseModel):
    """A table with nothing in it but the keys of its class. Which were given: model_fields_set."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FleetTable(Table):
    """[fleet]: the fleet as a whole."""

    name: Text = key(
        "The fleet's name: lower-case letters, digits and `-`. It names the runtime folder, the "
        "cgroups and the workers' process titles.",
        default="required",
        example='"shop"',
    )
    runtime_dir: Folder = key(
        "Where the control socket, the locks and the state are.",
        systemd="RuntimeDirectory",
        default="`/run/zygote/NAME` for root, else `$XDG_RUNTIME_DIR/zygote/NAME`, else "
        "`/tmp/zygote-UID/NAME`",
        example='"run"',
    )
    log_dir: Folder = key(
        "Where the workers' output goes.",
        systemd="LogsDirectory",
        default="`logs` in runtime_dir",
        example='"/var/log/shop"',
    )
    restart_rate: Annotated[float, Field(ge=0, le=1_000_000), Kind("number", "50")] = key(
        "So many workers a second are restarted by themselves at most, after a first second's "
        "worth at once: when hundreds fall together they come back without starving those that "
        "did not. Workers that others come `after` go first. 0: no limit.",
        default="25 for each CPU",
    )
    max_surge: Count = key(
        "`reload`: so many workers at a time have their successor started beside them. Only for "
        "those with `overlap`, and while there is memory for both. 0: none.",
        example="4",
    )
    max_unavailable: Count = key(
        "`reload`: so many workers at a time are stopped before their successor starts. One is, "
        "in any case, where it has no `overlap` or there is no memory for two.",
        example="2",
    )
    min_ready: Seconds = key(
        "`reload`: so long a successor must have been ready before its predecessor goes. It is "
        "then that its private memory is looked at (`max_regression`).",
        example='"5s"',
    )
    memory_reserve: Size = key(
        "`reload`: so much memory must stay available while old and new are there together. With "
        "less no second zygote is baked, and workers are stopped before their successors start.",
        example='"256M"',
    )
    operators: Account = key(
        "Members of this group may do on the control socket what root may: start, stop, reload. "
        "Whose program runs as which user the file says, not the caller; but `run` starts any "
        "program as the manager's user, so this group is as good as that.",
        systemd="SocketGroup",
        example='"decnet"',
    )
    readers: Account = key(
        "Members of this group may look: ps, status, events. `all`: everybody may.",
        example='"adm"',
    )
    pressure_limit: Cpus = key(
        "The fleet is under memory pressure when something in it waited for memory for more than "
        "this share of the time (memory.pressure, `some`, over 2 s). Then the running worker with "
        "the lowest `priority` is stopped, among equals the one with the most private memory, and "
        "stays so until somebody starts it. Needs a delegated cgroup v2 and a kernel with PSI.",
        systemd="ManagedOOMMemoryPressureLimit",
        default="not watched",
        example='"30%"',
    )
    pressure_duration: SecondsAboveZero = key(
        "How long to wait between one such stop and the next: what it frees takes a while to help.",
        systemd="ManagedOOMMemoryPressureDurationSec",
        default='`"10s"`',
        example='"30s"',
    )


class ZygoteTable(Table):
    """[zygote.NAME]: a process that imports once what its workers share."""

    parent: Text = key(
        "The zygote that this one is forked from: it has what that one imported, shares its pages, "
        "and imports more. It lives on when its parent ends, and has its parent's python, and its "
        "env and path beside its own. `zygotectl help zygotes` tells when that pays.",
        default="none: it starts from nothing",
        example='"floor"',
    )
    preload: Modules = key(
        "Modules to import before anything is started. What is imported here is shared by all "
        "workers of the zygote; what is imported later, each pays for itself."
    )
    warm: Functions = key(
        "Functions to call after the imports, without arguments, sync or async: they run the hot "
        "paths once, so that caches are filled and shared. They must leave no thread, connection "
        "or running event loop behind. A clone of the zygote runs them once more, to see which "
        "code they enter, and ends."
    )
    env: Env = key(
        "Variables added to the manager's environment, for the zygote and so for its workers. "
        "Whatever Python or libc read at their start (PYTHON…, MALLOC_…, LD_…) belongs here.",
        systemd="Environment",
        example='{ PYTHONHASHSEED = "0" }',
    )
    cwd: Folder = key(
        "The zygote's folder, and its workers' if they set none. It is the first entry of "
        "sys.path, as under `python -m`.",
        systemd="WorkingDirectory",
        default="the fleet file's folder",
        example='"src"',
    )
    path: Folders = key("Folders put into sys.path, right after cwd.")
    python: Text = key(
        "The interpreter: a path, or a name looked up in PATH. It needs this package too.",
        default="the manager's own",
        example='"/usr/bin/python3.13"',
    )
    bake: Texts = key(
        "Stages of the bake to run, in their own order: warm, collect, trim, relocate, "
        "immortalise, freeze, keep, seal, collapse. Imports and audits always run. Fewer share "
        "less.",
        default="all",
        example='["warm", "freeze"]',
    )
    bake_timeout: SecondsAboveZero = key(
        "How long imports and warm-up may take in all.", example='"5min"'
    )
    memory_low: SizeLimit = key(
        "So much of it the kernel reclaims last, after everything else. All workers run on these "
        "pages. It holds as far as the groups above have it too (MemoryLow= of the unit).",
        systemd="MemoryLow",
        default="what it weighs when it has baked",
    )
    blanks: Annotated[int, Field(ge=0, le=256), Kind("number", "8")] = key(
        "So many clones of it are kept waiting, for spawns that cannot: a worker that one of them "
        "becomes starts in a fraction of the time. They are refilled while no spawn waits. Each "
        "costs about 0.1 MB and its page tables, 0.2 MB for each 100 MB of the zygote; `zygotectl "
        "help zygotes` tells more."
    )
    allow: Env = key(
        "Findings of the audit that are accepted, each with its reason. The rules that refuse a "
        "floor: thread, socket, fd, loop, child-process, sqlite, pool, client, timer, fork, twins; "
        "`zygotectl help fork-safety` has those that warn, too.",
        example='{ thread = "joined before each fork" }',
    )
    user: Account = key(
        "Import, and warm up, as this user. Workers that name no user are the manager's all the "
        "same. It must be able to read what is imported.",
        systemd="User",
        default="the manager's",
        example='"nobody"',
    )


class WorkerTable(Table):
    """[worker.NAME], and [defaults]: one process."""

    zygote: Text = key(
        "The zygote it is a copy of.",
        default='the only one, else the one called "floor"',
        example='"floor"',
    )
    run: Run = key(
        'What it runs: `"package.module"` as `python -m` does, `"package.module:function"` (sync '
        "or async, called without arguments), or a file: a path with a `/` in it or `.py` at its "
        "end.",
        systemd="ExecStart",
        default="required",
        example='"shop.web:main"',
    )
    args: Arguments = key("sys.argv[1:].")
    env: Env = key(
        "Variables added to the zygote's environment. Tables of [defaults], template and worker "
        "are joined.",
        systemd="Environment",
    )
    cwd: Folder = key("Its folder.", systemd="WorkingDirectory", default="the zygote's")
    umask: Umask = key("Permissions that new files do not get.", systemd="UMask")
    autostart: Flag = key("Start it with the fleet. If not, `spawn NAME` does.", example="false")
    after: Texts = key(
        "Workers that must be ready before it starts; it is stopped before they are. Starting it "
        "starts them too.",
        systemd="After",
        example='["queue"]',
    )
    type: Readiness = key(
        '`"simple"`: ready as soon as it runs. `"notify"`: ready when it says so '
        "(`zygote.notify.ready()`, sd_notify's READY=1).",
        systemd="Type",
    )
    restart: Restart = key(
        "When to start it again by itself: never; when it failed (any end but exit code 0, "
        "SIGHUP, SIGINT, SIGTERM and SIGPIPE); or whenever it ended.",
        systemd="Restart",
    )
    restart_delay: Seconds = key(
        "The first delay before a restart; it doubles from one to the next, with some chance in "
        "it. The very first restart after a stable time is immediate.",
        systemd="RestartSec",
        example='"1s"',
    )
    restart_max_delay: Seconds = key(
        "The longest delay.", systemd="RestartMaxDelaySec", example='"1min"'
    )
    stable_after: Seconds = key(
        "Having run for so long, it starts over with the delays.", example='"1min"'
    )
    start_limit: Annotated[int, Field(ge=0, le=1_000_000), Kind("number", "10")] = key(
        "At most so many restarts by itself within start_limit_interval; then it is failed until "
        "somebody starts it. 0: no limit.",
        systemd="StartLimitBurst",
        example="5",
    )
    start_limit_interval: SecondsAboveZero = key(
        "The time over which start_limit counts.",
        systemd="StartLimitIntervalSec",
        example='"10min"',
    )
    max_restarts: Annotated[int, Field(ge=0, le=1_000_000), Kind("number", "100")] = key(
        "At most so many restarts by themselves, of all instances of the template together, within "
        "max_restarts_per; each one that ends after that is failed, the others run on, until "
        "somebody starts one of them. 0: no limit.",
        example="100",
    )
    max_restarts_per: SecondsAboveZero = key(
        "The time over which max_restarts counts.", example='"5min"'
    )
    start_timeout: SecondsAboveZero = key(
        "The longest time from start to ready.", systemd="TimeoutStartSec", example='"1min"'
    )
    stop_signal: SignalName = key("What asks it to end.", systemd="KillSignal")
    stop_grace: Seconds = key(
        "How long it may take to end; then it is killed, with all its processes.",
        systemd="TimeoutStopSec",
        example='"20s"',
    )
    watchdog: SecondsLimit = key(
        "It must give a sign of life this often (`zygote.notify.watchdog()`, sd_notify's "
        "WATCHDOG=1), or it is aborted (SIGABRT, then SIGKILL) and counts as failed.",
        systemd="WatchdogSec",
    )
    memory_max: SizeLimit = key(
        "Above this much **private** memory the kernel kills it. Pages shared with the zygote are "
        "not counted, so take the figure from USS in `ps`.",
        systemd="MemoryMax",
    )
    memory_high: SizeLimit = key(
        "Above this much it is slowed down and its memory reclaimed.",
        systemd="MemoryHigh",
        example='"96M"',
    )
    max_private: SizeLimit = key(
        "Its budget of private memory (USS in `ps`). One that has drifted beyond it is recycled: "
        "stopped as ever and started anew, as soon as it says that it is idle "
        "(`zygote.notify.idle()`), at the latest after recycle_grace. One that is beyond it right "
        "after its start, that is before stable_after, is told of once and left alone. `help "
        "memory` tells more.",
        example='"24M"',
    )
    recycle_grace: Seconds = key(
        "How long one beyond its budget may go on until it is idle. It must be beyond it all the "
        "time.",
        example='"1min"',
    )
    recycle_interval: Seconds = key(
        "It is recycled no more often than this; one that is beyond its budget sooner is told of "
        "once.",
        example='"1h"',
    )
    refork: Flag = key(
        "`zygotectl refork NAME` may fork it, warm as it is, to be the next generation of its "
        "zygote. **All that it has in memory then is in the memory of every later worker of that "
        "zygote**: see `zygotectl help refork`. It offers that by `zygote.mold.offer()`.",
        example="true",
    )
    overlap: Flag = key(
        "Two of it may run at once: when it is recycled, or moved to a new generation by `reload`, "
        "its successor is started first, and it is stopped when that is ready; if that does not "
        "become ready, it stays. Not for one that holds a lock, or binds a port without handing "
        "it over (`zygote.sockets`).",
        example="true",
    )
    max_regression: SizeLimit = key(
        "`reload` goes back to the old generation if the successor, once ready, has more private "
        "memory than its predecessor had, by more than this.",
        example='"8M"',
    )
    priority: Annotated[int, Field(ge=-1000, le=1000), Kind("-1000 to 1000", "10")] = key(
        "Under memory pressure (pressure_limit in [fleet]) the worker with the lowest is stopped "
        "first. One that has none is never stopped for that.",
        example="-10",
    )
    tasks_max: CountLimit = key("At most so many processes and threads.", systemd="TasksMax")
    cpu_weight: Annotated[int, Field(ge=1, le=10_000), Kind("1 to 10000", "200")] = key(
        "Its share of CPU time where there is not enough for all; 100 is usual.",
        systemd="CPUWeight",
    )
    cpu_max: Cpus = key("At most so many CPUs' time.", systemd="CPUQuota", example='"50%"')
    nice: Annotated[int, Field(ge=-20, le=19), Kind("-20 to 19", "5")] = key(
        "The scheduler's nice value; below the manager's own only for root.", systemd="Nice"
    )
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000), Kind("-1000 to 1000", "500")] = key(
        "How readily the kernel kills it when the machine is out of memory.",
        systemd="OOMScoreAdjust",
    )
    cpu_affinity: Affinity = key(
        "The only CPUs it runs on.", systemd="CPUAffinity", example='"0-3"'
    )
    rlimits: Rlimits = key(
        "Resource limits by their lower-case name, one number for soft and hard or "
        "`[soft, hard]`; see getrlimit(2). Tables are joined as env's are.",
        systemd="LimitNOFILE",
    )
    user: Account = key("Run as this user.", systemd="User", default="the manager's")
    group: Account = key("Run as this group.", systemd="Group", default="the user's")
    groups: Accounts = key(
        "The supplementary groups, instead of the user's own.", systemd="SupplementaryGroups"
    )
    capabilities: Capabilities = key(
        "The only capabilities that it keeps; `[]` is none at all.",
        systemd="CapabilityBoundingSet",
        default="unchanged",
    )
    no_new_privs: Flag = key(
        "Nothing that it runs can gain rights (setuid files).",
        systemd="NoNewPrivileges",
        example="true",
    )
    isolation: Isolation = key(
        "What it has in common with other workers besides memory. A copy of a zygote has that "
        "one's address layout, stack canary and hash seed: who learns them of one worker knows "
        'them of all. `"class:NAME"`: all workers of the class NAME are copies of a zygote of '
        'their own, made like the one that they name. `"exec"`: it is no copy but a fresh '
        "interpreter, which imports for itself what it needs. docs/isolation.md tells what either "
        "costs.",
        example='"class:web"',
    )
    private_network: Flag = key(
        "A network of its own, with nothing in it but a loopback interface that nobody else is on. "
        "UNIX sockets of files are reached as ever.",
        systemd="PrivateNetwork",
        example="true",
    )
    private_tmp: Flag = key(
        "Its own, empty /tmp and /var/tmp, in memory. What landlock names below them, the runtime "
        "folder and cwd are seen there all the same.",
        systemd="PrivateTmp",
        example="true",
    )
    read_only_paths: Folders = key(
        "Folders and files that it sees read-only.",
        systemd="ReadOnlyPaths",
        example='["/var/lib/shop"]',
    )
    landlock: Landlock = key(
        "The only files and TCP ports that it reaches: `read`, `write` and `execute` are paths, "
        '`bind` and `connect` ports (or `"any"`). What Python and libraries need to run can '
        "always be read, and nothing is executed that is not named. A path with `/` at its end is "
        "made where it is missing (below `write`), one with `-` before it may be missing; `%t` is "
        "the runtime folder. Nobody beyond it can be traced or (Linux 6.12) signalled. Needs no "
        "root. Tables are joined as env's are; a text that is empty after its variables is left "
        "out.",
    )
    seccomp: Seccomp = key(
        "The only system calls that it may make, by name or by systemd's groups; `~` takes away "
        "what came before. @default is always in it, threads are allowed, `clone` stands for "
        "processes and `unshare` for namespaces. Any other gets EPERM. Needs no root.",
        systemd="SystemCallFilter",
    )
    address_families: Families = key(
        "The only sockets that it can make; any other gets EAFNOSUPPORT. Pairs of sockets, and "
        "those that it was given, are not asked about.",
        systemd="RestrictAddressFamilies",
        default="all",
        example='["AF_UNIX", "AF_INET"]',
    )
    credentials: Credentials = key(
        "Files that it gets as `$CREDENTIALS_DIRECTORY/NAME`, read by the manager at each start: "
        "neither zygote nor sibling sees them, and the worker needs no right to the file itself. "
        "One with `-` before it may be missing. `zygotectl help walls` has more.",
        systemd="LoadCredential",
    )
    control: Control = key(
        "What it, and what it starts, may ask of the manager over the control socket: as its uid "
        "may, only the reading methods, or nothing.",
    )
    walls: Walls = key(
        "What happens where the machine, or the user, cannot have a wall that is asked for (user, "
        "groups, capabilities, private_…, read_only_paths, landlock, seccomp): the worker does "
        "not start; or it starts without that wall, and `status` tells.",
    )
    title: Text = key("The process title.", default="`FLEET: NAME`", example='"shop web"')
    log_max_bytes: Size = key("Its log file is rotated beyond this size.", example='"64M"')
    log_keep: Annotated[int, Field(ge=0, le=1000), Kind("number", "2")] = key(
        "How many rotated log files are kept.", example="5"
    )


TABLES: dict[str, type[Table]] = {
    "fleet": FleetTable, "zygote": ZygoteTable, "worker": WorkerTable, "defaults": WorkerTable,
}  # fmt: skip
"""The tables of a file; `zygote` and `worker` are tables of named ones."""


def systemd_words() -> dict[str, str]:
    """systemd's name of a key, lower-case -> ours."""
    found = {}
    for table in (FleetTable, ZygoteTable, WorkerTable):
        for name, field in table.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra["systemd"]:
                found[str(extra["systemd"]).lower()] = name
    return found
