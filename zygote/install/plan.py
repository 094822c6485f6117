"""What units a fleet needs: everything that `units.py` writes down, found out beforehand."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet, WorkerSpec

DELEGATE_SUBGROUP = 254
"""The first systemd that can start a service in a subgroup of its own cgroup."""

_MANAGER_CAPS = (
    "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP",  # workers become other users, and lose rights
    "CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE",
    "CAP_SYS_RESOURCE", "CAP_SYS_NICE",  # rlimits, oom_score_adj and nice of workers
    "CAP_SYS_PTRACE",  # memory figures of workers that are other users' (max_private, cow)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a program that stands on this package adds to the units of its fleet.

    Attributes:
        env: variables of the manager, and so of all workers, as in unit files.
        settings: a file with an operator's own variables, which go over `env`; it need not exist.
        environ: what `${…}` of the fleet file is in the service; None: as in this process.
        before: words for the interpreter, run before each start of the manager.
        starter: words for the interpreter that start a module which is named after them.
        managed: workers that can do nothing without a manager.
        capabilities: that its workers use where they have them, besides those of the fleet file.
        documentation: of the unit.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    environ: Mapping[str, str] | None = None
    before: tuple[tuple[str, ...], ...] = ()
    starter: tuple[str, ...] = ("-m",)
    managed: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the unit files say.

    Attributes:
        name: of the units: the fleet's, unless asked for otherwise.
        python: the interpreter with this package.
        systemd: its version.
        runtime: below /run.
        capabilities: the most that any process of the fleet may have.
        namespaces: some worker has mount or network namespaces of its own.
        packets: some worker opens packet sockets.
        accounts: users that have to be made; groups likewise.
        stop_seconds: longer than the fleet takes to stop.
        writable: folders outside the state and runtime folders that workers write to.
        shares_tmp: what it needs is in /tmp, so it cannot have one of its own.
    """

    name: str
    fleet: Fleet
    python: str
    systemd: int
    runtime: str
    capabilities: tuple[str, ...]
    namespaces: bool
    packets: bool
    accounts: tuple[str, ...]
    groups: tuple[str, ...]
    stop_seconds: int
    writable: tuple[str, ...] = ()
    shares_tmp: bool = False
    tenant: Tenant = Tenant()


def make(
    fleet: Fleet,
    *,
    name: str = "",
    systemd: int = 0,
    writable: Sequence[str] = (),
    tenant: Tenant | None = None,
) -> Plan:
    """Look at a checked fleet.

    Args:
        systemd: the version to write for; 0: the one that is here.
        writable: absolute folders.
    Raises:
        ZygoteError: code no-systemd; runtime-dir, it is not below /run.
    """
    specs = [*fleet.workers.values(), *fleet.templates.values()]
    zygote_users = [zygote.user for zygote in fleet.zygotes.values()]
    tenant = tenant or Tenant()
    named = {cap for spec in specs for cap in spec.capabilities or ()} | {*tenant.capabilities}
    walled = any(_has_namespaces(spec) for spec in specs)
    longest = max((spec.stop_grace for spec in specs), default=5.0)
    folders = [*writable, *([fleet.log_dir] if fleet.log_dir else [])]
    return Plan(
        name=name or fleet.name,
        fleet=fleet,
        python=sys.executable,
        systemd=systemd or version(),
        runtime=_below_run(fleet),
        capabilities=tuple(
            sorted({*_MANAGER_CAPS, *named, *(["CAP_SYS_ADMIN"] if walled else [])})
        ),
        namespaces=walled,
        packets="CAP_NET_RAW" in named,
        accounts=_missing([*(s.user for s in specs), *zygote_users], fleet.name),
        groups=_groups(fleet, specs),
        # In reverse order of `after`, each with its grace: rarely more than a few in a row.
        stop_seconds=round(max(90.0, 4 * longest)),
        writable=tuple(dict.fromkeys(folders)),
        shares_tmp=_in_tmp(fleet.file, sys.executable, *folders),
        tenant=tenant,
    )


def version() -> int:
    """Of the systemd that runs here.

    Raises:
        ZygoteError: code no-systemd.
    """
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[1])
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        raise ZygoteError(
            "there is no systemd here",
            code="no-systemd",
            hint="start the fleet with `up --detach`; or write units for another machine: --root",
            exit_code=Exit.FAILED,
        ) from None


def _in_tmp(*paths: str) -> bool:
    return any(path.startswith(("/tmp/", "/var/tmp/")) for path in paths)


def _has_namespaces(spec: WorkerSpec) -> bool:
    return bool(
        spec.private_network or spec.private_tmp or spec.read_only_paths or spec.credentials
    )


def _below_run(fleet: Fleet) -> str:
    folder = fleet.runtime_dir or f"/run/zygote/{fleet.name}"
    below = os.path.relpath(folder, "/run")
    if below.startswith("..") or below == ".":
        raise ZygoteError(
            f'[fleet] runtime_dir = "{folder}" is not below /run, where a unit\'s must be',
            code="runtime-dir",
            hint="leave runtime_dir out of the fleet file",
            exit_code=Exit.FLEET_FILE,
        )
    return below


def _missing(names: Iterable[str | None], own: str) -> tuple[str, ...]:
    """Users that have to be made: those not there, and those that we once made."""

    def wanted(name: str) -> bool:
        if name.isdecimal() or "%" in name:
            return False
        try:
            pwd.getpwnam(name)
        except KeyError:
            return True
        return name == own or name.startswith(f"{own}-")

    return tuple(sorted({name for name in names if name and wanted(name)}))


def _groups(fleet: Fleet, specs: Sequence[WorkerSpec]) -> tuple[str, ...]:
    """The fleet's own group, and those that its file names; sysusers leaves existing ones alone."""
    names = {fleet.name, fleet.operators, fleet.readers}
    for spec in specs:
        names.update((spec.group or "", *(spec.groups or ())))
    names -= {"", "all", "nobody", "root"}
    return tuple(sorted(name for name in names if not name.isdecimal() and "%" not in name))
