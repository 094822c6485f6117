"""Words that a fleet file may use, and what people write who mean one of ours."""

from __future__ import annotations

import difflib
import resource
from collections.abc import Iterable

CAPABILITIES = (
    "CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER", "CAP_FSETID", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_KILL", "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_PERFMON", "CAP_SETFCAP",
    "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYSLOG", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
)  # fmt: skip
"""All of capabilities(7)."""

AUDIT_RULES = (
    *("thread", "socket", "fd", "loop", "child-process", "sqlite", "pool", "client", "timer"),
    *("fork", "twins", "random-state", "environ-read", "environ-set", "secret", "temp-file"),
    *("signal", "exit-callback", "held-lock", "imprint", "shared-memory", "sdk", "allocator"),
    *("fork-handler", "tracer", "process-state", "huge-pages"),
)
"""The rules that `allow` can name: those of `zygote.audit` (a test holds the two equal)."""

BAKE_STAGES = (
    *("warm", "collect", "trim", "relocate", "immortalise", "freeze", "keep", "seal", "collapse"),
)
"""The stages that `bake` can name: those of `zygote.bake` without import and audits (a test)."""

RLIMITS = tuple(sorted(name[7:].lower() for name in dir(resource) if name.startswith("RLIMIT_")))
"""nofile, core, as …: what this interpreter knows of getrlimit(2)."""

RLIMITS_IN_BYTES = frozenset(
    ("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack", "swap")
)
"""Those that may be written as a size: "64M"."""

LATE_VARIABLES = ("PYTHON", "LD_", "MALLOC_", "GLIBC_TUNABLES", "OMP_NUM_THREADS")
"""Variables (or what they begin with) that are read once, at exec, before any worker is there."""

MANAGERS_VARIABLES = frozenset(
    ("ZYGOTE_WORKER", "ZYGOTE_SPAWN_ID", "ZYGOTE_RUNTIME_DIR", "NOTIFY_SOCKET", "WATCHDOG_USEC")
)
"""Set by the manager, whatever the file says."""

_SYNONYMS = {
    "run": "execstart command cmd exec module entrypoint program",
    "args": "arguments argv",
    "env": "environmentfile",
    "cwd": "directory workdir working_dir chdir",
    "after": "requires wants bindsto depends_on depends",
    "restart": "autorestart restartmode",
    "autostart": "enabled",
    "memory_max": "memory_limit mem_limit memory memorylimit ram",
    "max_private": "max_memory_restart max_rss reload_on_rss max_uss",
    "tasks_max": "pids_limit",
    "cpu_max": "cpus cpu_quota",
    "cpu_weight": "cpu_shares",
    "stop_signal": "stopsignal",
    "stop_grace": "stopwaitsecs stop_grace_period stop_timeout graceful_timeout",
    "start_timeout": "timeoutsec timeout",
    "stable_after": "startsecs",
    "start_limit": "startretries max_retries",
    "user": "uid",
    "group": "gid",
    "capabilities": "caps cap_add ambientcapabilities",
    "rlimits": "ulimits",
    "preload": "imports preload_app modules",
    "path": "sys_path pythonpath",
    "python": "interpreter",
    "runtime_dir": "runtimedirectory",
    "log_dir": "logsdirectory logdir logs",
    "log_max_bytes": "stdout_logfile_maxbytes",
    "log_keep": "stdout_logfile_backups",
}
"""What supervisord, circus, compose and Kubernetes call our keys, and some more of systemd's words;
the chief one of systemd stands in the schema, beside its key."""

OTHER_WORDS = {word: key for key, words in _SYNONYMS.items() for word in words.split()}


def closest(word: str, choices: Iterable[str]) -> str:
    """The choice that was probably meant, or ""."""
    by_plain = {_plain(choice): choice for choice in choices}
    begun = [choice for choice in by_plain if len(word) > 3 and choice.startswith(_plain(word))]
    if len(begun) == 1:
        return by_plain[begun[0]]
    found = difflib.get_close_matches(_plain(word), by_plain, n=1, cutoff=0.65)
    return by_plain[found[0]] if found else ""


def did_you_mean(word: str, choices: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the closest choice; `otherwise` if none is close."""
    guess = closest(word, choices)
    return f'did you mean "{guess}"?' if guess else otherwise


def listed(words: Iterable[str], most: int = 12) -> str:
    """`a, b, c`, cut short with how many more there are."""
    words = list(words)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
