"""The units of a fleet in which each worker is one: NAME-zygote@, NAME-worker@ and NAME.target.

What the fleet file says of a worker is said in systemd's words, in a drop-in of its unit; from
there systemd itself keeps it, and the clone takes it over (`docs/systemd.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import WorkerSpec
from zygote.install.plan import Plan
from zygote.install.units import (
    MARK,
    command,
    environment,
    lines,
    slice_unit,
    sysusers,
    tmpfiles,
)
from zygote.manager.walls import needs_no_new_privs

_MANAGERS = {"isolation": "none"}
"""Keys that have no meaning in this mode -> what they are where they are not used."""
_COMFORTS = {"max_private": None, "priority": None, "overlap": False}
"""Likewise, but nobody is less safe without them."""
_UNITS = Path("/etc/systemd/system")


def shared_files(plan: Plan) -> dict[Path, str]:
    """The files that are the same for all workers."""
    name = plan.name
    return {
        _UNITS / f"{name}.slice": slice_unit(plan),
        _UNITS / f"{name}.target": _target(plan),
        _UNITS / f"{name}-zygote@.socket": _door(plan),
        _UNITS / f"{name}-zygote@.service": _zygote(plan),
        _UNITS / f"{name}-worker@.service": _worker(plan),
        Path("/etc/sysusers.d") / f"{name}.conf": sysusers(plan),
        Path("/etc/tmpfiles.d") / f"{name}.conf": tmpfiles(plan),
    }


def files(plan: Plan) -> dict[Path, str]:
    """Every file, by its absolute path.

    Raises:
        ZygoteError: code per-worker: a key that only a manager keeps.
    """
    name = plan.name
    found = shared_files(plan)
    for spec in plan.fleet.workers.values():
        lost = [key for key, default in _MANAGERS.items() if getattr(spec, key) != default]
        if lost:
            raise ZygoteError(
                f"worker '{spec.name}': {', '.join(lost)} can be kept by a manager only",
                code="per-worker",
                place=spec.place,
                hint="leave it out, or install the fleet as one service (without --units)",
                exit_code=Exit.FLEET_FILE,
            )
        folder = _UNITS / f"{name}-worker@{spec.name}.service.d"
        found[folder / "10-fleet.conf"] = _drop_in(plan, spec)
    return found


def left_out(plan: Plan) -> list[str]:
    """Keys of the file that have no effect in this mode, one line each."""
    found = []
    for key, default in _COMFORTS.items():
        names = [spec.name for spec in plan.fleet.workers.values() if getattr(spec, key) != default]
        if names:
            found.append(f"{key} has no effect without a manager ({', '.join(names)})")
    for spec in plan.fleet.workers.values():
        missing = [name for name, path in spec.credentials.items() if _is_missing(path)]
        if missing:
            found.append(
                f"worker '{spec.name}' starts without {', '.join(missing)}: not there yet; once "
                "it is, install again"
            )
    if managed := [name for name in plan.tenant.managed if name in plan.fleet.workers]:
        found.append(f"{', '.join(managed)}: not started, for they act through a manager")
    if plan.fleet.templates:
        names = list(plan.fleet.templates)
        found.append(f"templates have no units but for instances in the file ({', '.join(names)})")
    return found


def _target(plan: Plan) -> str:
    wanted = [f"{plan.name}-worker@{spec.name}.service" for spec in plan.fleet.workers.values()
              if spec.autostart and spec.name not in plan.tenant.managed]  # fmt: skip
    return f"""\
{MARK}

[Unit]
Description=All workers of the fleet '{plan.fleet.name}', a unit each
{lines("Wants=", wanted)}
[Install]
WantedBy=multi-user.target
"""


def _door(plan: Plan) -> str:
    return f"""\
{MARK}

[Unit]
Description=Where workers of '{plan.fleet.name}' ask the zygote '%i' for a clone

[Socket]
# A worker that starts while its zygote is down, or bakes, waits in it.
ListenSequentialPacket=/run/{plan.runtime}/%i.door
SocketMode=0666
DirectoryMode=0711
# A zygote that cannot be baked shall not be tried for ever because somebody waits.
TriggerLimitIntervalSec=0
RemoveOnStop=yes
"""


def _zygote(plan: Plan) -> str:
    serve = [*plan.tenant.starter, "zygote.service.serve", "--fleet", plan.fleet.file,
             "--zygote", "%i", "--socket", f"/run/{plan.runtime}/%i.door"]  # fmt: skip
    return f"""\
{MARK}

[Unit]
Description=Zygote '%i' of the fleet '{plan.fleet.name}'
Requires={plan.name}-zygote@%i.socket
After={plan.name}-zygote@%i.socket network.target

[Service]
Type=notify
# The doorkeeper says it; the main process is the zygote itself, whose clones are PID 1's children.
NotifyAccess=all
{environment(plan)}\
{lines("ExecStartPre=", [command(plan, each) for each in plan.tenant.before])}\
ExecStart={command(plan, serve).replace("%%i", "%i")}
SyslogIdentifier={plan.name}/zygote.%i
Slice={plan.name}.slice
# No hardening here: a clone can be given no right that its zygote lacks; each worker's unit has
# its own. All workers run on these pages:
MemoryLow=1G
OOMScoreAdjust=-500
Restart=always
RestartSec=1s
TimeoutStartSec=10min
LimitNOFILE=65536
"""


def _worker(plan: Plan) -> str:
    ask = command(plan, [*plan.tenant.starter, "zygote.service.exec", "%i"]).replace("%%i", "%i")
    return f"""\
{MARK}
# For settings of your own: systemctl edit {plan.name}-worker@NAME

[Unit]
Description=Worker '%i' of the fleet '{plan.fleet.name}'
PartOf={plan.name}.target

[Service]
# `exec` stands where systemd put it, asks the zygote for a clone that takes its place, and ends.
Type=notify
NotifyAccess=all
ExecStart={ask}
SyslogIdentifier={plan.name}/%i
Slice={plan.name}.slice
# MemoryMax= reached: the whole unit goes (memory.oom.group, Result=oom-kill); Restart= decides.
OOMPolicy=kill
{environment(plan)}\
"""


def _drop_in(plan: Plan, spec: WorkerSpec) -> str:
    zygote = f"{plan.name}-zygote@{spec.zygote}"
    after = [f"{plan.name}-worker@{name}.service" for name in spec.after]
    return f"""\
{MARK}
# From {spec.place}

[Unit]
# Wanted and not required: when the zygote's unit stops, its clones live on.
Wants={zygote}.socket {zygote}.service
After={zygote}.socket {zygote}.service
{lines("Wants=", after)}{lines("After=", after)}\
StartLimitIntervalSec={spec.start_limit_interval:g}s
StartLimitBurst={spec.start_limit or 1000000}

[Service]
Environment=ZYGOTE_DOOR=/run/{plan.runtime}/{spec.zygote}.door
{"".join(f"{key}={value}" + chr(10) for key, value in settings(spec))}\
{lines("Restart=", ["no"] if spec.name in plan.tenant.managed else [])}"""


def _is_missing(path: str) -> bool:
    """A credential that may be missing, and is: LoadCredential= knows no such thing."""
    return path.startswith("-") and not Path(path[1:]).exists()


def settings(spec: WorkerSpec) -> Iterator[tuple[str, str]]:
    """Keys of the fleet file in systemd's words."""
    yield "WorkingDirectory", spec.cwd or "/"
    yield "UMask", f"{spec.umask:04o}"
    yield "Restart", spec.restart
    yield "RestartSec", f"{spec.restart_delay:g}s"
    # A zygote that is baked first is waited for, too.
    yield "TimeoutStartSec", f"{spec.start_timeout + 600:g}s"
    yield "KillSignal", spec.stop_signal
    yield "TimeoutStopSec", f"{spec.stop_grace:g}s"
    kept = spec.capabilities
    for key, value in (
        ("WatchdogSec", spec.watchdog and f"{spec.watchdog:g}s"),
        ("MemoryMax", spec.memory_max),
        ("MemorySwapMax", None if spec.memory_max is None else "0"),
        ("MemoryHigh", spec.memory_high),
        ("TasksMax", spec.tasks_max),
        ("CPUWeight", spec.cpu_weight),
        ("CPUQuota", None if spec.cpu_max is None else f"{spec.cpu_max * 100:g}%"),
        ("Nice", spec.nice),
        ("OOMScoreAdjust", spec.oom_score_adj),
        ("CPUAffinity", spec.cpu_affinity and " ".join(map(str, spec.cpu_affinity))),
        ("User", spec.user),
        ("Group", spec.group),
        ("SupplementaryGroups", spec.groups and " ".join(spec.groups)),
        ("CapabilityBoundingSet", None if kept is None else " ".join(kept)),
        ("AmbientCapabilities", " ".join(kept or ()) if spec.user else None),
        # landlock, seccomp and address_families are put up by the clone itself, last of all.
        ("NoNewPrivileges", "yes" if needs_no_new_privs(spec) else None),
        ("PrivateTmp", "yes" if spec.private_tmp else None),
        ("PrivateNetwork", "yes" if spec.private_network else None),
        ("ReadOnlyPaths", " ".join(spec.read_only_paths) or None),
    ):  # fmt: skip
        if value is not None and value != ():
            yield key, str(value)
    for name, path in spec.credentials.items():
        if not _is_missing(path):
            yield "LoadCredential", f"{name}:{path.removeprefix('-')}"
    for name, (soft, hard) in spec.rlimits.items():
        pair = ["infinity" if each < 0 else str(each) for each in (soft, hard)]
        yield f"Limit{name.upper()}", ":".join(pair)
