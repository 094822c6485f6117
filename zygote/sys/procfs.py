"""Read /proc about a process: what it is, what it costs, when it started, who its children are.

Facts this rests on (proc(5)):

- A process may end between any two reads. Opening its files then fails with ENOENT, reading what
  was opened before with ESRCH. Both mean the same: gone, here None.
- /proc/PID/stat: the name stands in parentheses and may hold spaces and parentheses itself, so the
  fields are counted from the *last* `)`. Times are in clock ticks (sysconf SC_CLK_TCK), the start
  in ticks since boot, suspended time included (CLOCK_BOOTTIME).
- pid and start time together name a process for one boot; the boot has an id of its own.
- /proc/PID/smaps_rollup (4.14) adds up all mappings, and walks the page tables for it: about 3 ms
  for 80 MB. It needs PTRACE_MODE_READ, that is the same user (and a process that may be dumped:
  one that has changed its uid may not), or CAP_SYS_PTRACE: EACCES otherwise. For a zombie and for
  a kernel thread, which have no memory, reading it fails with ESRCH or gives nothing.
- /proc/PID/statm and status are open to everybody (without hidepid). VmPTE in status is the page
  tables' own size, which no other figure includes.
- /proc/PID/task/TID/children needs CONFIG_PROC_CHILDREN, and is exact only while nothing changes.

Sizes are KiB as the kernel gives them, times seconds. `zygotectl help memory` explains each figure.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = "/proc"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Stat:
    """What a process is.

    Attributes:
        name: of the program, at most 15 bytes; any process may set it to anything.
        state: one letter: R running, S sleeping, D disk, T stopped, t traced, Z zombie, X dead.
        tty: device number of the controlling terminal, 0 without one.
        utime, stime: seconds of CPU in user and kernel mode, of this process alone.
        start_ticks: since boot; with the pid and the boot id it names the process for ever.
    """

    pid: int
    name: str
    state: str
    ppid: int
    pgrp: int
    session: int
    tty: int
    utime: float
    stime: float
    threads: int
    start_ticks: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        return self.utime + self.stime

    @property
    def is_zombie(self) -> bool:
        """It has ended and waits to be reaped."""
        return self.state in "ZX"

    def age(self) -> float:
        """Seconds since it started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / _TICKS

    def started_at(self) -> float:
        """Its start in seconds since the epoch, by the wall clock as it goes now."""
        return time.time() - self.age()


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process's memory costs, in KiB.

    Attributes:
        rss_kib: resident pages, shared ones counted whole.
        pss_kib: resident pages, each divided by how many processes map it: sums up truly.
        uss_kib: pages of this process alone; what its end would free.
        private_dirty_kib: of those, the ones that were written to.
        swap_kib: swapped out.
        pagetables_kib: the page tables themselves, part of none of the above.
    """

    rss_kib: int
    pss_kib: int
    uss_kib: int
    private_dirty_kib: int
    shared_clean_kib: int
    shared_dirty_kib: int
    swap_kib: int
    pagetables_kib: int


@dataclass(frozen=True, slots=True)
class Resident:
    """The two figures that everybody may read of every process, in KiB."""

    rss_kib: int
    pagetables_kib: int


@dataclass(frozen=True, slots=True)
class Kinds:
    """Resident memory by kind, in KiB; pages that are shared after a fork are counted whole."""

    anon_kib: int
    file_kib: int


def read_stat(pid: int) -> Stat | None:
    """/proc/PID/stat; None if there is no such process."""
    raw = _read(pid, "stat")
    if not raw:
        return None
    opening, closing = raw.index(b"("), raw.rindex(b")")
    field = raw[closing + 2 :].split()  # field[0] is the third of proc(5)
    return Stat(
        pid=int(raw[:opening]),
        name=raw[opening + 1 : closing].decode(errors="backslashreplace"),
        state=field[0].decode(),
        ppid=int(field[1]),
        pgrp=int(field[2]),
        session=int(field[3]),
        tty=int(field[4]),
        utime=int(field[11]) / _TICKS,
        stime=int(field[12]) / _TICKS,
        threads=int(field[17]),
        start_ticks=int(field[19]),
    )


def read_memory(pid: int) -> Memory | None:
    """smaps_rollup and VmPTE; None if there is no such process, or it has no memory (a zombie).

    Raises:
        PermissionError: it is another user's; `read_resident` still works.
    """
    rollup = _read(pid, "smaps_rollup")
    status = _read(pid, "status")
    if not rollup or not status:
        return None
    kib = _kib(rollup.partition(b"\n")[2])
    if "Rss" not in kib:
        return None
    private = ("Private_Clean", "Private_Dirty", "Private_Hugetlb")
    return Memory(
        rss_kib=kib["Rss"],
        pss_kib=kib["Pss"],
        uss_kib=sum(kib.get(name, 0) for name in private),
        private_dirty_kib=kib["Private_Dirty"],
        shared_clean_kib=kib["Shared_Clean"],
        shared_dirty_kib=kib["Shared_Dirty"],
        swap_kib=kib.get("Swap", 0),
        pagetables_kib=_kib(status).get("VmPTE", 0),
    )


def read_resident(pid: int) -> Resident | None:
    """statm and VmPTE, which need no permission; None if there is no such process, or a zombie."""
    statm = _read(pid, "statm")
    status = _read(pid, "status")
    if not statm or not status:
        return None
    kib = _kib(status)
    if "VmPTE" not in kib:
        return None
    return Resident(int(statm.split()[1]) * _PAGE_KIB, kib["VmPTE"])


def read_kinds(pid: int) -> Kinds | None:
    """RssAnon and RssFile, which need no permission; None if there is no such process."""
    kib = _kib(_read(pid, "status") or b"")
    if "RssAnon" not in kib:
        return None
    return Kinds(kib["RssAnon"], kib.get("RssFile", 0) + kib.get("RssShmem", 0))


def read_children(pid: int) -> tuple[int, ...] | None:
    """The pids of its children, of all its threads; None if there is no such process."""
    try:
        tasks = [entry.name for entry in Path(f"{_PROC}/{pid}/task").iterdir()]
    except _GONE:
        return None
    found: list[int] = []
    for task in tasks:
        listed = _read(pid, f"task/{task}/children")
        if listed is None and not Path(f"{_PROC}/self/task/{os.getpid()}/children").exists():
            return _children_by_scan(pid)
        found += map(int, (listed or b"").split())
    return tuple(sorted(found))


def read_boot_id() -> str:
    """The id of this boot of the kernel: pids and start times mean nothing beyond it."""
    return Path(_PROC, "sys/kernel/random/boot_id").read_text().strip()


def read_meminfo_kib(name: str) -> int:
    """A line of /proc/meminfo, "MemAvailable" say, in KiB; 0 where this kernel has none of it.

    See: proc_meminfo(5). Of the whole machine, whatever a cgroup of ours allows
    (`zygote.sys.room.read_available` knows that, too).
    """
    with open(f"{_PROC}/meminfo", "rb") as file:
        return _kib(file.read()).get(name, 0)


def _children_by_scan(pid: int) -> tuple[int, ...]:
    """For a kernel without CONFIG_PROC_CHILDREN: look at every process."""
    names = (entry.name for entry in Path(_PROC).iterdir())
    stats = (read_stat(int(name)) for name in names if name.isdecimal())
    return tuple(sorted(stat.pid for stat in stats if stat and stat.ppid == pid))


def _read(pid: int, name: str) -> bytes | None:
    """A whole file of a process; None if it is gone."""
    try:
        with open(f"{_PROC}/{pid}/{name}", "rb", buffering=0) as file:
            return file.read()
    except _GONE:
        return None


def _kib(text: bytes) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        if rest.endswith(b" kB"):
            found[name.decode()] = int(rest[:-3])
    return found
