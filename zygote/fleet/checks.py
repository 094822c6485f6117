"""What only shows when the whole file is put together: contradictions, and what will not be found.

Errors are what cannot work; warnings what works and is probably not meant, or will not work as
this user on this machine (the file may be meant for another).
"""

from __future__ import annotations

import grp
import os
import pwd
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from zygote.fleet import isolation
from zygote.fleet.build import Merged
from zygote.fleet.model import WorkerSpec, ZygoteSpec
from zygote.fleet.modules import Finder
from zygote.fleet.problems import Problems
from zygote.fleet.values import Fault
from zygote.fleet.walls import Machine
from zygote.fleet.words import LATE_VARIABLES, MANAGERS_VARIABLES
from zygote.units import format_seconds, spell_bytes

_LITTLE_MEMORY = 4 * 2**20
"""A Python process touches about this much of its own while it starts to work."""
_FEW_FILES = 16
"""A worker holds about ten at its start: stdio, its report, an event loop's, a file it imports."""


def check_worker(spec: WorkerSpec, merged: Merged, problems: Problems) -> None:
    """One worker's keys against each other and against this machine."""
    place = merged.place

    def warn(key: str, text: str) -> None:
        problems.warn(place(key), text)

    if spec.restart_delay > spec.restart_max_delay:
        key = "restart_delay" if "restart_delay" in merged.values else "restart_max_delay"
        problems.error(
            place(key),
            f"restart_delay ({format_seconds(spec.restart_delay)}) is above restart_max_delay "
            f"({format_seconds(spec.restart_max_delay)})",
            hint="raise restart_max_delay, or lower restart_delay",
            code="conflict",
        )
    if spec.memory_high and spec.memory_max and spec.memory_high > spec.memory_max:
        warn(
            "memory_high",
            f"memory_high ({spell_bytes(spec.memory_high)}) is above memory_max "
            f"({spell_bytes(spec.memory_max)}), it never comes to it",
        )
    if spec.max_private and spec.memory_max and spec.max_private >= spec.memory_max:
        warn(
            "max_private",
            f"max_private ({spell_bytes(spec.max_private)}) is not below memory_max "
            f"({spell_bytes(spec.memory_max)}): the kernel kills it before it is recycled",
        )
    if spec.overlap and not spec.max_private:
        warn("overlap", "without max_private it is never recycled, and never overlaps")
    for key, bound in (
        *(("memory_max", spec.memory_max), ("memory_high", spec.memory_high)),
        ("max_private", spec.max_private),
    ):
        if bound and bound < _LITTLE_MEMORY:
            warn(key, f"{spell_bytes(bound)} is little: a Python process needs about 4M of its own")
    if spec.watchdog and spec.watchdog < 1:
        warn("watchdog", "below one second a busy machine alone can let it expire")
    if spec.restart == "no" and spec.watchdog:
        warn("restart", 'the watchdog will kill it, and restart = "no" leaves it so')
    if spec.stop_signal in ("SIGSTOP", "SIGCONT"):
        warn("stop_signal", f"{spec.stop_signal} ends no process: each stop will take stop_grace")
    if spec.start_limit and spec.start_limit_interval < spec.restart_delay:
        warn("start_limit_interval", "it is shorter than one delay: start_limit never counts to 2")
    if 0 <= spec.rlimits.get("nofile", (-1, -1))[0] < _FEW_FILES:
        problems.warn(
            place("rlimits", "nofile"), "too few open files for a Python process to start"
        )
    _check_rights(spec, warn)
    isolation.warn(spec, warn)
    _check_walls(spec, warn)
    _check_env(spec, merged, problems)
    cpus = os.cpu_count() or 1
    if spec.cpu_affinity and min(spec.cpu_affinity) >= cpus:
        warn("cpu_affinity", f"this machine has CPUs 0 to {cpus - 1} only, it could not start here")
    if spec.cpu_max and spec.cpu_max > cpus:
        warn("cpu_max", f"this machine has {cpus} CPUs: no limit here")
    if "%i" not in spec.cwd and not Path(spec.cwd).is_dir() and "cwd" in merged.values:
        warn("cwd", f"no folder {spec.cwd} now: it must be there when it starts")


def check_umask(spec: WorkerSpec, merged: Merged, problems: Problems) -> None:
    """A number that was probably meant as octal: TOML reads 27 as 27."""
    if "umask" not in merged.values:
        return
    path = merged.place("umask")
    _, _, written = problems.line_text(path).partition("umask")
    if not any(mark in written for mark in ("0o", '"', "'")) and spec.umask > 7:
        problems.error(
            path,
            f"the decimal number {spec.umask} is the mask {spec.umask:04o}",
            hint=f'modes are octal, in quotes: "{spec.umask:04}", or "{spec.umask:04o}" if that '
            "is meant",
            code="bad-value",
            value=spec.umask,
        )


def check_zygote(spec: ZygoteSpec, place: tuple[str, str], problems: Problems) -> None:
    """Its modules and functions."""
    if _is_other_python(spec):
        problems.warn(
            (*place, "python"),
            "another interpreter: whether the modules of this zygote and its workers are there "
            "shows only when it starts",
        )
        return
    finder = _finder(spec, spec.cwd)
    for index, name in enumerate(spec.preload):
        _try(partial(finder.check_module, name), name, (*place, "preload", index), problems)
    for index, name in enumerate(spec.warm):
        module, _, function = name.partition(":")
        check = partial(finder.check_function, module, function)
        _try(check, name, (*place, "warm", index), problems)


def check_run(spec: WorkerSpec, merged: Merged, zygote: ZygoteSpec, problems: Problems) -> None:
    """What a worker runs; templates are left to their instances where `%i` is in it."""
    target, path = spec.run.target, merged.place("run")
    about = ("worker", spec.name, "run") if "@" in spec.name else path
    if spec.name.endswith("@") and "%" in target:
        return
    if spec.run.kind == "file":
        file = Path(target)
        if not file.is_file():
            what = "is no file" if file.exists() else "does not exist"
            problems.error(
                path, f"{target} {what}", hint="a path is relative to the fleet file's folder",
                code="no-such-file", about=about,
            )  # fmt: skip
        return
    if _is_other_python(zygote):
        return
    # As under `python -m`: the worker's folder comes first, then what the zygote has.
    finder = _finder(zygote, "" if "%" in spec.cwd else spec.cwd, zygote.cwd)
    module, _, function = target.partition(":")
    if function:
        check = partial(finder.check_function, module, function)
    else:
        check = partial(finder.check_module, module, run=True)
    _try(check, target, path, problems, about)


def check_unused(zygotes: Mapping[str, ZygoteSpec], used: set[str], problems: Problems) -> None:
    """Zygotes that no worker is made from cost their memory for `zygotectl run` only."""
    for name in zygotes:
        if name not in used:
            problems.warn(("zygote", name), "no worker uses it; it is baked all the same")


def _check_rights(spec: WorkerSpec, warn: Callable[[str, str], None]) -> None:
    if os.geteuid() != 0:
        uid = os.geteuid()
        for key in ("user", "group", "groups"):
            value = getattr(spec, key)
            if value and value not in (str(uid), _own_name(uid)):
                if spec.walls == "report":
                    warn(key, f"changing it takes root; as uid {uid} it is left out")
                else:
                    warn(key, f"changing it takes root; as uid {uid} this worker will not start")
                break
        if spec.nice is not None and spec.nice < os.getpriority(os.PRIO_PROCESS, 0):
            warn("nice", f"lowering it takes root or RLIMIT_NICE; we are uid {uid}")
        if spec.oom_score_adj is not None and spec.oom_score_adj < 0:
            warn("oom_score_adj", f"lowering it takes root; we are uid {uid}")
    for key, exists in (("user", _is_user), ("group", _is_group)):
        name = getattr(spec, key)
        if name and "%" not in name and not exists(name):
            warn(key, f"there is no {key} '{name}' on this machine")


def _check_walls(spec: WorkerSpec, warn: Callable[[str, str], None]) -> None:
    then = "left out here" if spec.walls == "report" else "this worker will not start here"
    asked = (
        spec.private_network or spec.private_tmp or spec.read_only_paths or spec.seccomp_filter,
        spec.landlock is not None,
    )
    if any(asked):
        for key, why in _this_machine().why_not(spec):
            warn(key, f"{why}: {then}")
    for name, path in spec.credentials.items():
        if "%" not in path and not path.startswith("-") and not Path(path).exists():
            warn("credentials", f"no file {path} now: {name} must be there when it starts")


@cache
def _this_machine() -> Machine:
    return Machine()


def _check_env(spec: WorkerSpec, merged: Merged, problems: Problems) -> None:
    for name in merged.values.get("env", {}):
        if name in MANAGERS_VARIABLES:
            problems.warn(merged.place("env", name), "the manager sets it; this value is not used")
        elif name.startswith(LATE_VARIABLES) and spec.is_copy:
            problems.warn(
                merged.place("env", name),
                "it is read when an interpreter starts, and this one runs already: set it in "
                f"env of [zygote.{spec.zygote}] (here it reaches only what the worker executes)",
            )


def _try(
    check: Callable[[], None],
    name: str,
    path: tuple[str | int, ...],
    problems: Problems,
    about: tuple[str | int, ...] | None = None,
) -> None:
    try:
        check()
    except Fault as fault:
        problems.error(
            path, fault.message, hint=fault.hint, code=fault.code, value=name, about=about
        )


def _finder(spec: ZygoteSpec, *folders: str) -> Finder:
    extra = spec.env.get("PYTHONPATH", "").split(os.pathsep)
    return Finder([*folders, *spec.path, *extra], spec.name)


def _is_other_python(spec: ZygoteSpec) -> bool:
    # Not resolved: a virtual environment's interpreter is a link, and not the same as its target.
    return bool(spec.python) and spec.python != sys.executable


def _own_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name))
    except (KeyError, OverflowError):
        return False


def _is_group(name: str) -> bool:
    try:
        return name.isdecimal() or bool(grp.getgrnam(name))
    except KeyError:
        return False
