"""The text of the unit files: each directive with its reason beside it, for who reads them later.

Tried with systemd 252 in a VM (tests/system), `systemd-analyze verify` clean.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from zygote.install.plan import DELEGATE_SUBGROUP, Plan

MARK = "# Written by `install --systemd`; `uninstall --systemd` removes it."
"""The first line of every file: what does not begin so is not ours to overwrite or remove."""

_OWN = "# For settings of your own: systemctl edit {unit}"


def files(plan: Plan) -> dict[Path, str]:
    """Every file, by its absolute path."""
    name, units = plan.name, Path("/etc/systemd/system")
    return {
        units / f"{name}.slice": slice_unit(plan),
        units / f"{name}.socket": socket_unit(plan),
        units / f"{name}.service": service_unit(plan),
        Path("/etc/sysusers.d") / f"{name}.conf": sysusers(plan),
        Path("/etc/tmpfiles.d") / f"{name}.conf": tmpfiles(plan),
    }


def slice_unit(plan: Plan) -> str:
    """NAME.slice: what the fleet as a whole may take, and what it is left."""
    return f"""\
{MARK}
{_OWN.format(unit=f"{plan.name}.slice")}

[Unit]
Description=Slice of the fleet '{plan.fleet.name}'

[Slice]
# The manager protects each zygote by what it weighs (memory.low), since all workers run on its
# pages. That holds only as far as the groups above are protected, too.
MemoryLow=1G
# The fleet as a whole may be bounded here, too: MemoryMax=, CPUQuota=, TasksMax=.
"""


def socket_unit(plan: Plan) -> str:
    """NAME.socket: the control socket."""
    return f"""\
{MARK}
{_OWN.format(unit=f"{plan.name}.socket")}

[Unit]
Description=Control socket of the fleet '{plan.fleet.name}'
# Stopping the fleet means it: the next call shall not start it again.
PartOf={plan.name}.service

[Socket]
# Callers wait in it while a manager that crashed is replaced, in place of being refused.
ListenStream=/run/{plan.runtime}/control.sock
FileDescriptorName=control
# Everybody may connect; the manager asks the kernel who it is, and answers by that.
SocketMode=0666
DirectoryMode=0711
# Also where the manager could not: nobody shall find a socket that no one will answer.
RemoveOnStop=yes
Service={plan.name}.service

[Install]
WantedBy=sockets.target
"""


def service_unit(plan: Plan) -> str:
    """NAME.service: the manager, and below it zygotes and workers."""
    place = ["--fleet", plan.fleet.file, "--runtime-dir", f"/run/{plan.runtime}"]
    manager = [*plan.tenant.starter, "zygote.manager", *place, "--log", "journal"]
    subgroup = "DelegateSubgroup=manager\n" if plan.systemd >= DELEGATE_SUBGROUP else ""
    return f"""\
{MARK}
{_OWN.format(unit=f"{plan.name}.service")}

[Unit]
Description=Fleet '{plan.fleet.name}': Python workers over a shared floor
{lines("Documentation=", [plan.tenant.documentation] if plan.tenant.documentation else [])}\
Requires={plan.name}.socket
After={plan.name}.socket network.target
# A manager that cannot start is given up on in the end; what it left runs on.
StartLimitIntervalSec=10min
StartLimitBurst=20

[Service]
# Ready when the floors are baked and the first workers are up; STATUS= says how the fleet is.
Type=notify
NotifyAccess=main
{environment(plan)}\
{lines("ExecStartPre=", [command(plan, each) for each in plan.tenant.before])}\
ExecStart={command(plan, manager)}
# New code and a changed fleet file, worker by worker; what fails goes back. A wrong file changes
# nothing.
ExecReload={command(plan, ["-m", "zygote.cli", *place, "reload"])}
# If the manager did not come to stopping everything: does that. After a crash: makes room for the
# next manager where systemd cannot (before {DELEGATE_SUBGROUP}).
ExecStopPost=+-{command(plan, ["-m", "zygote.install.ended"])} %n
SyslogIdentifier={plan.name}

# The unit's cgroup is ours to divide: a leaf with its limits for each worker, one for each zygote.
Delegate=yes
{subgroup}Slice={plan.name}.slice
# See the slice: protection reaches a zygote through here.
MemoryLow=1G
RuntimeDirectory={plan.runtime}
RuntimeDirectoryMode=0711
# The socket unit's file is in it, and the state by which a new manager adopts workers.
RuntimeDirectoryPreserve=yes
StateDirectory={plan.name}
StateDirectoryMode=0711

# Only the manager is signalled: it stops its workers in reverse order itself; when it crashes they
# go on, and the next one adopts them.
KillMode=process
Restart=always
# `down`, and SIGTERM to the manager, mean it.
RestartPreventExitStatus=0
RestartSec=200ms
TimeoutStopSec={plan.stop_seconds}s
# Baking a large floor takes a while on a slow disk.
TimeoutStartSec=10min
# A manager that hangs is replaced; it answers each half of this.
WatchdogSec=60s
# The socket that workers speak to lives on here while a manager is replaced.
FileDescriptorStoreMax=8
# A worker that is out of memory is that worker's affair, and no reason to stop the unit.
OOMPolicy=continue
# Each worker costs the manager about three descriptors; a worker's own bound is its tasks_max.
LimitNOFILE=65536
TasksMax=infinity

# What no process of the fleet needs. Each worker gives up more: user, capabilities, seccomp and
# landlock of the fleet file.
NoNewPrivileges=yes
CapabilityBoundingSet={" ".join(plan.capabilities)}
ProtectSystem=strict
{lines("ReadWritePaths=", plan.writable)}\
ProtectHome=read-only
PrivateMounts=yes
{_tmp(plan)}
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# Not ProtectControlGroups=: the manager writes to its own.
ProtectProc=invisible
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Not RestrictNamespaces=: it takes clone3 away, by which a worker is born in its own cgroup.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK{" AF_PACKET" if plan.packets else ""}
SystemCallArchitectures=native
SystemCallFilter=@system-service{" @mount" if plan.namespaces else ""}
# Not in that group of every systemd (252 has it without): workers shut themselves in by these.
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
Also={plan.name}.socket
"""


def _tmp(plan: Plan) -> str:
    """Temporary files: in folders of the fleet's own; where it lies in everybody's, in those, which
    ProtectSystem= would close."""
    return "PrivateTmp=no\nReadWritePaths=/tmp /var/tmp" if plan.shares_tmp else "PrivateTmp=yes"


def sysusers(plan: Plan) -> str:
    """sysusers.d(5): groups and users of the fleet file."""
    text = [MARK, *(f"g {group} -" for group in plan.groups)]
    for account in plan.accounts:
        own = f"{account}:{account}" if account in plan.groups else ""
        identity = f"-:{account}" if own else "-"
        what = f'"worker of the fleet {plan.fleet.name}"'
        text.append(f"u {account} {identity} {what} /var/lib/{plan.name} -")
    return "\n".join(text) + "\n"


def tmpfiles(plan: Plan) -> str:
    """tmpfiles.d(5): the socket unit binds before the service makes its folder."""
    parts = plan.runtime.split("/")
    text = [MARK]
    for depth in range(1, len(parts) + 1):
        mode = "0711" if depth == len(parts) else "0755"
        text.append(f"d /run/{'/'.join(parts[:depth])} {mode} root root -")
    return "\n".join(text) + "\n"


def environment(plan: Plan) -> str:
    """Variables: the tenant's, then an operator's."""
    pairs = [quoted(f"{k}={v}") for k, v in sorted(plan.tenant.env.items())]
    files = [f"-{plan.tenant.settings}"] if plan.tenant.settings else []
    return lines("Environment=", pairs) + lines("EnvironmentFile=", files)


def command(plan: Plan, words: Iterable[str]) -> str:
    """A command line of our interpreter, as systemd reads it; -P: no module from the cwd."""
    line = shlex.join([plan.python, "-P", *words])
    return line.replace("%", "%%").replace("$", "$$")


def lines(directive: str, values: Iterable[str]) -> str:
    return "".join(f"{directive}{value}\n" for value in values)


def quoted(text: str) -> str:
    return f'"{text}"' if set(text) & set(" \"'\\") else text
