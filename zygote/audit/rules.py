"""The rules of the audit: what each looks for, why it is a hazard, and the usual way out.

A rule either refuses (the floor is not cloned, unless the fleet file allows it with a reason) or
warns (something a worker will not find as its author expects, or that all workers will share).
Findings say more than the table where they can: `zygote.audit.known` knows libraries by name.
"""

from __future__ import annotations

from typing import NamedTuple

REFUSE, WARN = "refuse", "warn"


class Rule(NamedTuple):
    """One rule.

    Attributes:
        severity: "refuse" or "warn".
        title: what is found, for a heading.
        why: what it would do to a worker; one clause.
        remedy: what to do instead; one clause.
    """

    severity: str
    title: str
    why: str
    remedy: str


TABLE: dict[str, Rule] = {
    "thread": Rule(
        REFUSE,
        "threads",
        "a worker is a copy of one thread, so this one would be missing there",
        "start it in the worker, not while importing or warming up",
    ),
    "socket": Rule(
        REFUSE,
        "sockets",
        "a connection or listener made here would be one for all workers",
        "open it in the worker, not while importing or warming up, or close it again",
    ),
    "fd": Rule(
        REFUSE,
        "open files and other descriptors",
        "workers lose it, while the objects that hold its number do not know",
        "open it in the worker, not while importing or warming up, or close it again",
    ),
    "loop": Rule(
        REFUSE,
        "event loops",
        "workers would share its epoll and its self-pipe",
        "run it by asyncio.run, which closes it, or make it in the worker",
    ),
    "child-process": Rule(
        REFUSE,
        "child processes",
        "no worker would wait for it or stop it",
        "start it in the worker that needs it, or wait for its end",
    ),
    "sqlite": Rule(
        REFUSE,
        "SQLite connections",
        "a worker that uses or closes its copy can corrupt the file",
        "connect in the worker, or close the connection after warming up",
    ),
    "pool": Rule(
        REFUSE,
        "pools with open connections",
        "workers would talk on the same connections",
        "connect in the worker; after a warm-up, dispose of the pool (engine.dispose())",
    ),
    "client": Rule(
        REFUSE,
        "clients that must not cross a fork",
        "it has threads, locks and connections of its own that a worker lacks",
        "make it in the worker",
    ),
    "timer": Rule(
        REFUSE,
        "timers",
        "it strikes the zygote, and no worker has it",
        "set it in the worker",
    ),
    "fork": Rule(
        REFUSE,
        "forks that fail",
        "each worker would end the same way",
        "see where it hangs or dies; leave out what starts it, or start it in the worker",
    ),
    "twins": Rule(
        REFUSE,
        "random numbers that are the same in two workers",
        "keys, names and samples of all workers would be alike",
        "seed it from the kernel in an os.register_at_fork hook, or in the worker",
    ),
    "random-state": Rule(
        WARN,
        "generators of random numbers",
        "all workers draw the same numbers from their copies",
        "make it in the worker, or seed it anew in an os.register_at_fork(after_in_child=…) hook",
    ),
    "environ-read": Rule(
        WARN,
        "variables read at import",
        "the value is the zygote's; a worker's own env changes nothing that was made of it",
        "set these in env of [zygote.NAME], the same for all its workers; or read them later",
    ),
    "environ-set": Rule(
        WARN,
        "variables set at import",
        "a worker's environment is the fleet file's: there it is not set",
        "put it into env of [zygote.NAME] or of the worker",
    ),
    "secret": Rule(
        WARN,
        "secrets in the environment",
        "it is in the memory of every worker, of whatever user",
        "give it to the worker that needs it, in a file: env = { NAME_FILE = … }",
    ),
    "temp-file": Rule(
        WARN,
        "temporary files and folders",
        "all workers share it, and none of them deletes it",
        "make it in the worker, or delete it after warming up",
    ),
    "signal": Rule(
        WARN,
        "signal handlers",
        "a worker starts with default actions: there the handler is not set",
        "set it in the worker",
    ),
    "exit-callback": Rule(
        WARN,
        "exit callbacks",
        "a worker does not run it: what was registered at import is the zygote's",
        "if workers need it, register it in the worker",
    ),
    "held-lock": Rule(
        WARN,
        "locks that are held",
        "it is held in every worker, and who would release it may not be there",
        "release it before the import ends",
    ),
    "imprint": Rule(
        WARN,
        "traces of one process or moment",
        "it is the zygote's, and the same in all workers",
        "compute it when it is needed",
    ),
    "shared-memory": Rule(
        WARN,
        "memory that stays shared",
        "all workers write to the same bytes",
        "make it in the worker, unless it is meant to be common to all",
    ),
    "sdk": Rule(
        WARN,
        "monitoring that was started",
        "its threads, queues and identifiers are the zygote's, not the worker's",
        "start it in the worker",
    ),
    "allocator": Rule(
        WARN,
        "other allocators",
        "its own threads and locks do not know of clones, and the bake cannot settle its heap",
        "take it out of LD_PRELOAD in env of [zygote.NAME]; jemalloc 5.3 or later if it must be",
    ),
    "fork-handler": Rule(
        WARN,
        "fork handlers of native libraries",
        "a worker is made by clone3, around which libc calls no handlers",
        "harmless where the library has no threads yet; if it misbehaves, load it in the worker",
    ),
    "tracer": Rule(
        WARN,
        "tracing",
        "every worker is traced, slowly, and dirties what it would share",
        "start coverage, profilers and tracemalloc in the worker",
    ),
    "process-state": Rule(
        WARN,
        "settings of the process",
        "every worker that asks for nothing else inherits it",
        "set it in the worker, or by the worker's keys (nice, cpu_affinity, rlimits)",
    ),
    "huge-pages": Rule(
        WARN,
        "huge pages",
        "whoever writes one byte after a fork copies 2 MiB",
        "zygotes switch them off; elsewhere prctl(PR_SET_THP_DISABLE) before the imports",
    ),
}
"""All rules, by the stable names that `allow` in [zygote.NAME] uses."""

RULES = tuple(TABLE)
