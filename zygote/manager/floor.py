"""Starts zygote processes: what `zygotes.py` needs of the rest of the manager."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Mapping

from zygote.fleet.model import ZygoteSpec
from zygote.manager.children import Child, Children
from zygote.manager.events import EventLog
from zygote.manager.freshness import Freshness
from zygote.manager.leaves import Leaf, Leaves
from zygote.manager.logs import LogFiles
from zygote.manager.start import Program, start_program
from zygote.manager.state import StateFiles
from zygote.sys import linker


class ZygoteShop:
    """Execs zygotes, each with its log, its leaf and a generation number of its own.

    Args:
        env: what zygotes, and so workers, inherit.
        spawn_path: "auto", or the one way to make processes ("clone3", "clone", "fork").
        nofile: the limits of open files to give to zygotes, and so to workers; the manager
            raises its own.
    """

    def __init__(
        self,
        *,
        children: Children,
        events: EventLog,
        leaves: Leaves,
        logs: LogFiles,
        state: StateFiles,
        env: Mapping[str, str],
        spawn_path: str,
        nofile: tuple[int, int],
        freshness: Freshness,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._children = children
        self._events = events
        self._leaves = leaves
        self._logs = logs
        self._state = state
        self._env = env
        self._spawn_path = spawn_path
        self._nofile = nofile
        self.keep_prints = freshness.keep
        self.look = freshness.look
        self._generations = state.read_generations()

    def start_zygote(self, spec: ZygoteSpec, generation: int, link: int) -> Child:
        """Exec a zygote process; its end of the link is `link`, which stays the caller's.

        Raises:
            OSError: interpreter or folder missing, no memory, no processes left.
            ZygoteError: its cgroup cannot be made.
        """
        argv = (
            spec.python or sys.executable, "-m", "zygote.forkserver", "--link", str(link),
            "--name", spec.name, "--generation", str(generation), "--spawn-path", self._spawn_path,
        )  # fmt: skip
        env = {**self._env, **linker.AT_ONCE, **spec.env}
        log = self.open_log(spec)
        leaf: Leaf | None = None
        try:
            leaf = self._leaves.leaf("zygote", f"{spec.name}.{generation}")
            program = Program(argv, env, cwd=spec.cwd, stdout=log, stderr=log, fds=(link,))
            child = self._children.start(program, "zygote", spec.name, leaf)
        except OSError:
            if leaf:
                leaf.remove()
            raise
        finally:
            os.close(log)
        return self._settle(child, leaf)

    def start_alone(self, spec: ZygoteSpec, body: bytes, fds: tuple[int, ...]) -> int:
        """Exec a worker that is no copy of a zygote; its pid. The descriptors stay the caller's.

        Args:
            spec: whose interpreter, folder and `path` it has.
            body: of the Spawn; it has the environment, and says which descriptor is what.
        Raises:
            OSError: interpreter or folder missing, no memory, no processes left.
        """
        request = json.loads(body)
        passed = dict(zip(request["fds"], fds, strict=True))
        source = os.memfd_create("zygote-request", os.MFD_CLOEXEC)
        try:
            with open(source, "wb", closefd=False) as file:
                file.write(json.dumps({"path": spec.path}).encode() + b"\n" + body)
            numbers = ",".join(map(str, fds))
            argv = (spec.python or sys.executable, "-m", "zygote.child", str(source), numbers)
            pid = start_program(
                Program(argv, request["env"], spec.cwd, passed["stdout"], passed["stderr"],
                        (source, *fds), session=True)
            )  # fmt: skip
        finally:
            os.close(source)
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, self._nofile)
            if (procs := passed.get("cgroup.procs")) is not None:
                os.write(procs, str(pid).encode())  # before the interpreter has touched much
        except OSError:
            pass  # it ended at once, or moves itself
        return pid

    def open_log(self, spec: ZygoteSpec) -> int:
        """A descriptor of its log, for appending; the caller's."""
        return self._logs.open(f"zygote.{spec.name}")

    def take_branch(self, spec: ZygoteSpec, generation: int, pid: int, pidfd: int | None) -> Child:
        """File a zygote process that another zygote made; owns the pidfd.

        Raises:
            OSError: it is gone already.
            ZygoteError: its cgroup cannot be made.
        """
        if pidfd is None:
            pidfd = os.pidfd_open(pid)
        try:
            leaf = self._leaves.leaf("zygote", f"{spec.name}.{generation}")
        except BaseException:
            os.close(pidfd)
            raise
        ended = self.loop.create_future()
        child = Child(pid, pidfd, "zygote", spec.name, ended, leaf, session=False)
        return self._settle(self._children.add(child), leaf)

    def take_blank(self, spec: ZygoteSpec, pid: int, pidfd: int | None) -> Child:
        """File a blank that a zygote made; owns the pidfd. It is in the zygote's leaf.

        Raises:
            OSError: it is gone already.
        """
        pidfd = os.pidfd_open(pid) if pidfd is None else pidfd
        ended = self.loop.create_future()
        return self._children.add(Child(pid, pidfd, "blank", spec.name, ended))

    def why_no_blanks(self) -> str:
        """Why they would be of no use here, or ""."""
        if self._leaves.moves_quickly:
            return ""
        return (
            "workers have cgroups, and to move a blank into one takes longer than a clone does: "
            "mount -o remount,favordynmods /sys/fs/cgroup"
        )

    def live_blanks(self) -> list[Child]:
        """All blanks, those that were told to go as well."""
        return self._children.of_kind("blank")

    def next_generation(self, name: str) -> int:
        """A number that was never used for this zygote on this folder."""
        generation = self._generations[name] = self._generations.get(name, 0) + 1
        self._state.write_generations(self._generations)
        return generation

    def kill(self, child: Child) -> None:
        """SIGKILL for a zygote alone: a worker still in its set-up may share its group."""
        self._children.signal(child, 9)

    def log_path(self, name: str) -> str:
        """Path of the log file of a zygote."""
        return self._logs.place(f"zygote.{name}")

    def tell(self, event: str, name: str, pid: int | None, detail: str) -> None:
        """Emit an event about a zygote."""
        self._events.emit(event, name, pid, detail, kind="zygote")

    def _settle(self, child: Child, leaf: Leaf | None) -> Child:
        """Into its leaf before it allocates much, and back to the limits that we were given."""
        try:
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, self._nofile)
            if leaf:
                procs = leaf.open_procs()
                try:
                    os.write(procs, str(child.pid).encode())
                finally:
                    os.close(procs)
        except OSError as error:
            self.tell("zygote-unsettled", child.name, child.pid, str(error))
        if leaf:
            child.ended.add_done_callback(lambda _: leaf.remove())
        return child


def raise_nofile() -> tuple[int, int]:
    """Let the manager open as many files as it may; returns the limits as they were."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # an unlimited hard limit above fs.nr_open: what we have must do
    return soft, hard
