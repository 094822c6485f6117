"""The way from the clone to the program, as one table.

The order is fixed, and is the same for every worker: what the later steps need comes before what
takes it away. Descriptors and signals come first, so that whatever fails can be told; the
identity to Python next; limits that need privileges, then the privileges themselves; last the
record on disk and the word "up", after which only the program runs.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from zygote.child import confine, identity, inherited, signals, stdio, switches, unit, walls
from zygote.child.request import Request
from zygote.sys import fds
from zygote.wire.messages import ORPHAN_EXIT, REPORT_EXIT


class Step(NamedTuple):
    """One step.

    Attributes:
        name: stable; what a failure is reported under.
        does: one sentence for the reader of `zygotectl help`.
        run: acts, or raises OSError or ValueError.
        hints: errno -> the way out; `{0.field}` is a field of the request.
        wall: with `walls = "report"` it is left out where it fails.
    """

    name: str
    does: str
    run: Callable[[Request], object]
    hints: Mapping[int, str] = {}
    wall: bool = False


def walk(request: Request) -> None:
    """Take all steps. One that fails is reported, and ends the process."""
    for step in STEPS:
        try:
            step.run(request)
        except OSError as error:
            number = error.errno or errno.EIO
            if step.run is _report_up and number in _NOBODY_THERE:
                os._exit(ORPHAN_EXIT)
            detail = os.fsdecode(error.filename) if error.filename else ""
            if step.wall and request.walls and request.walls["report"]:
                said = f"{os.strerror(number)}: {detail}" if detail else os.strerror(number)
                walls.tell_gap(request, step.name, said)
                continue
            fail(request.report, step.name, number, detail, _hint(step, number, request))
        except Exception as error:
            detail = (
                f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            )
            hint = _hint(step, errno.EINVAL, request)
            fail(request.report, step.name, errno.EINVAL, detail, hint)


def fail(report: int, step: str, number: int, detail: str, hint: str) -> NoReturn:
    """Report a step that failed and end the process, whatever happens to the report."""
    record = {"up": False, "step": step, "errno": number, "detail": detail, "hint": hint}
    try:
        os.write(report if report >= 0 else 2, json.dumps(record).encode())
    finally:
        os._exit(REPORT_EXIT)


_NOBODY_THERE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


def _hint(step: Step, number: int, request: Request) -> str:
    return step.hints.get(number, "").format(request)


def _session(request: Request) -> None:
    if request.session == "new":
        if os.getsid(0) != os.getpid():  # a blank, and an exec'd worker, lead one already
            os.setsid()
    elif request.session == "group":
        # Of the manager's session: with a parent in it, the group is no orphan, and can be stopped.
        os.setpgid(0, 0)
    else:
        raise ValueError(f'session is "new" or "group", not {request.session!r}')


def _fds(request: Request) -> None:
    """Sockets handed over become 3, 4, …, then credentials; our own channels go above.

    Nothing else stays open.
    """
    passed = len(request.listen) + len(request.credentials)
    first = 3 + passed

    def above(descriptor: int) -> int:
        if descriptor < 0 or (descriptor >= first and not passed):
            return descriptor
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first)

    request.report = above(request.report)
    request.record = above(request.record)
    request.mold = above(request.mold)
    request.listen = [(name, above(descriptor)) for name, descriptor in request.listen]
    request.credentials = [above(descriptor) for descriptor in request.credentials]
    for number, (_, descriptor) in enumerate(request.listen, 3):
        os.dup2(descriptor, number, inheritable=True)
    # What the worker executes is not to have them.
    for number, descriptor in enumerate(request.credentials, 3 + len(request.listen)):
        os.dup2(descriptor, number, inheritable=False)
    standard = [number for number, source in enumerate(request.stdio) if source >= 0]
    channels = (request.report, request.record, request.mold)
    own = [descriptor for descriptor in channels if descriptor >= 0]
    fds.close_others([*standard, *range(3, first), *own])


def _umask(request: Request) -> None:
    if not 0 <= request.umask <= 0o777:
        raise ValueError(f"{request.umask:#o} is no file mode")
    os.umask(request.umask)


def _cwd(request: Request) -> None:
    os.chdir(request.cwd)


def _env(request: Request) -> None:
    identity.set_env(request)
    switches.obey(request.env)
    request.kept += stdio.open_streams(request.env)


def _record(request: Request) -> None:
    """PID, start time in clock ticks since boot (field 22), spawn id: who we are, for ever."""
    if request.record < 0:
        return
    with open("/proc/self/stat", "rb", buffering=0) as source:
        stat = source.read(1024)
    start = int(stat[stat.rindex(b")") :].split()[20])
    os.write(request.record, f"{os.getpid()} {start} {request.spawn_id}\n".encode())
    os.close(request.record)
    request.record = -1


def _report_up(request: Request) -> None:
    """The last of the set-up. Nobody there to hear it: no program runs."""
    gc.enable()
    if request.report < 0:
        return
    times = f'"began": {request.began:.6f}, "monotonic": {time.monotonic():.6f}'
    up = f'{{"up": true, "pid": {os.getpid()}, {times}}}'
    if request.walls:
        up = f"{up[:-1]}, {json.dumps(walls.stands(request))[1:]}"
    os.write(request.report, up.encode())
    os.close(request.report)
    request.report = -1


_ROOT = "run the manager as root, or leave it out"
_REPORT = 'leave it out, or say walls = "report": then it is left out where it cannot be'

STEPS = (
    Step("cgroup", "Move to the worker's own cgroup, where the clone is not in it yet.",
         confine.join_cgroup,
         {errno.EACCES: "the cgroup is not delegated to this user: Delegate=yes in the unit",
          errno.EBUSY: "the cgroup has controllers enabled for children; a leaf must have none",
          errno.ENODEV: "the cgroup was removed meanwhile; start the worker again"}),
    Step("unit", "Enter the namespaces of the systemd unit that it is started for.",
         unit.enter_namespaces,
         {errno.EPERM: "the zygote's unit must run as root, with CAP_SYS_ADMIN and CAP_SYS_CHROOT",
          errno.EINVAL: "this kernel cannot enter them by a pidfd (Linux 5.8)"}),
    Step("session", "Start a session, or a process group, of its own.", _session),
    Step("stdio", "Make the descriptors handed over 0, 1 and 2.",
         lambda request: stdio.place(request)),
    Step("fds", "Put handed-over sockets at 3 and on, and close every other descriptor.", _fds,
         {errno.EMFILE: "more sockets than RLIMIT_NOFILE allows: raise it for the manager",
          errno.EINVAL: "more sockets than RLIMIT_NOFILE allows: raise it for the manager"}),
    Step("signals", "Give every signal its default action and block none.",
         lambda request: signals.reset(request.env)),
    Step("umask", "Set the mask of file modes.", _umask,
         {errno.EINVAL: "umask is octal: 0o027"}),
    Step("cwd", "Change to the working directory.", _cwd,
         {errno.ENOENT: "make the folder, or change cwd",
          errno.ENOTDIR: "cwd must be a folder",
          errno.EACCES: "the user that the manager runs as may not enter it"}),
    Step("env", "Replace the environment; open sys.stdin, sys.stdout and sys.stderr by it.", _env,
         {errno.EINVAL: "see the variable that it names in env of the worker, or in the caller's"}),
    Step("argv", "Set sys.argv and sys.path.", identity.set_argv),
    Step("main", "Make a fresh __main__.", identity.set_main),
    Step("inherited", "Give up what is the zygote's: exit callbacks, event loops, names.",
         lambda _request: inherited.release()),
    Step("rlimits", "Set resource limits.", confine.set_rlimits,
         {errno.EPERM: "above the manager's own hard limit: raise that one (LimitNOFILE= "
                       "and so on in its unit), or ask for less",
          errno.EINVAL: "see getrlimit(2): names without RLIMIT_, the soft limit first"}),
    Step("nice", "Set the nice value.", confine.set_nice,
         {errno.EACCES: "a nice value below the manager's needs CAP_SYS_NICE: " + _ROOT,
          errno.EPERM: "a nice value below the manager's needs CAP_SYS_NICE: " + _ROOT}),
    Step("oom_score_adj", "Set how readily the kernel ends it when memory runs out.",
         confine.set_oom_score_adj,
         {errno.EACCES: "a value below the manager's needs CAP_SYS_RESOURCE: " + _ROOT,
          errno.EINVAL: "from -1000 to 1000"}),
    Step("affinity", "Bind it to CPUs.", confine.set_affinity,
         {errno.EINVAL: "none of these CPUs exists here, or none is allowed to the manager"}),
    Step("unit_limits", "Take the limits and scheduling of the unit.", unit.take_limits,
         {errno.EPERM: "the zygote's unit has fewer rights than the worker's: run it as root"}),
    Step("seeds", "Seed the random generators anew.", lambda _request: inherited.reseed()),
    Step("title", "Set what `ps` shows.", identity.set_title),
    Step("namespaces", "Leave for a network, /tmp and read-only paths of its own.",
         walls.leave_namespaces,
         {errno.EPERM: "it takes root, or a kernel where users may make namespaces; " + _REPORT,
          errno.ENOSPC: "no more namespaces for this user: see user.max_user_namespaces",
          errno.ENOENT: "read_only_paths: no such path"}, wall=True),
    Step("groups", "Set supplementary groups.", confine.set_groups,
         {errno.EPERM: "changing groups needs CAP_SETGID: " + _ROOT}, wall=True),
    Step("gid", "Change the group.", confine.set_gid,
         {errno.EPERM: "another group needs CAP_SETGID: run the manager as root, or drop group="},
         wall=True),
    Step("uid", "Change the user.", confine.set_uid,
         {errno.EPERM: "another user needs CAP_SETUID: run the manager as root, or drop user=",
          errno.EAGAIN: "that user has as many processes as RLIMIT_NPROC allows"}, wall=True),
    Step("capabilities", "Keep the capabilities asked for and give up all others.",
         confine.set_capabilities,
         {errno.EPERM: "the manager itself has not all of them: run it as root, or name fewer"},
         wall=True),
    Step("no_new_privs", "Let no exec raise privileges.", confine.set_no_new_privs),
    Step("unit_rights", "Take the user, capabilities and filters of the unit.", unit.take_rights,
         {errno.EPERM: "the zygote's unit has fewer rights than the worker's, or its "
                       "SystemCallFilter= forbids what gives up rights (@setuid, capset)"}),
    Step("record", "Write pid and start time to the worker's record.", _record,
         {errno.ENOSPC: "the disk of the runtime folder is full"}),
    Step("landlock", "Give up all files and ports but those named.", walls.set_landlock,
         {errno.ENOSYS: "this kernel has no landlock (Linux 5.13); " + _REPORT,
          errno.EOPNOTSUPP: "landlock is off here (the lsm= of the kernel's command line); "
                            + _REPORT,
          errno.ENOENT: "make it, or put a - before it: it may be missing then",
          errno.EACCES: "the worker's user may not reach it"}, wall=True),
    Step("seccomp", "Give up all system calls but those allowed.", walls.set_seccomp,
         {errno.EINVAL: "this kernel has no filters (CONFIG_SECCOMP_FILTER); " + _REPORT},
         wall=True),
    Step("report", "Say that it is up.", _report_up),
)  # fmt: skip
"""All steps, in their order."""
