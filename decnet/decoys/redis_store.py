"""What the redis decoy answers: commands on a few keys that one visitor sees and nobody else."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from decnet.decoys.looks import Look
from decnet.decoys.redis_parse import KEPT_MOST, Reply

KEYS_MOST = 64
VISIT_BYTES_MOST = 128 << 10
ALL_BYTES_MOST = 4 << 20
"""Of all visitors together."""
_OOM = "-OOM command not allowed when used memory > 'maxmemory'."
_UNSET = (
    "-ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)


@dataclass
class Room:
    """The bytes that all visitors' keys take together."""

    used: int = 0


@dataclass
class Store:
    """One visitor's redis."""

    look: Look
    room: Room
    values: dict[bytes, bytes] = field(default_factory=dict)
    config: dict[str, bytes] = field(default_factory=dict)
    used: int = 0
    is_over: bool = False

    def __post_init__(self) -> None:
        self.config = {
            "dir": b"/var/lib/redis",
            "dbfilename": b"dump.rdb",
            "save": b"3600 1 300 100 60 10000",
            "maxmemory": b"0",
            "bind": b"0.0.0.0",
            "protected-mode": b"no",
            "port": b"6379",
            "appendonly": b"no",
            "requirepass": b"",
            "slave-read-only": b"yes",
        }
        self.values = {
            b"session:%d" % (self.look.seed % 9000 + 1000): b'{"user":"admin","ttl":3600}',
            b"queue:mail": b"0",
            b"cache:version": b"4.2.1",
        }

    def close(self) -> None:
        """Give the room back. Safe to call twice."""
        self.room.used -= self.used
        self.used = 0
        self.values = {}

    def run(self, words: list[bytes]) -> Reply:
        """The reply to a command; what is not known is refused as Redis does."""
        name = words[0].decode("latin-1").upper()
        rule = _COMMANDS.get(name)
        if rule is None:
            shown = words[0][:128].decode("utf-8", "replace")
            rest = " ".join(f"'{w[:32].decode('utf-8', 'replace')}'" for w in words[1:5])
            return f"-ERR unknown command '{shown}', with args beginning with: {rest}"
        least, most, command = rule
        if not least <= len(words) - 1 <= most:
            return f"-ERR wrong number of arguments for '{name.lower()}' command"
        return command(self, words[1:])

    # -- keys

    def put(self, key: bytes, value: bytes) -> Reply:
        """Keep a value, within bounds."""
        old = self.values.get(key)
        growth = len(value) - len(old) if old is not None else len(key) + len(value)
        if (
            (old is None and len(self.values) >= KEYS_MOST)
            or self.used + growth > VISIT_BYTES_MOST
            or self.room.used + growth > ALL_BYTES_MOST
        ):
            return _OOM
        self.values[key] = value
        self._grow(growth)
        return "+OK"

    def delete(self, keys: list[bytes]) -> int:
        """Forget keys; how many there were."""
        count = 0
        for key in keys:
            value = self.values.pop(key, None)
            if value is not None:
                self._grow(-len(key) - len(value))
                count += 1
        return count

    def matching(self, pattern: bytes) -> list[Reply]:
        """The keys that match a pattern."""
        text = pattern[:256].decode("latin-1")
        if text.count("*") > 8:  # a pattern is a program, and this one is no search
            return []
        return [k for k in self.values if fnmatch.fnmatchcase(k[:256].decode("latin-1"), text)]

    def _grow(self, count: int) -> None:
        # The keys that were there before the visitor take no room of others.
        growth = max(count, -self.used)
        self.used += growth
        self.room.used += growth


def _config(store: Store, words: list[bytes]) -> Reply:
    action = words[0].upper()
    if action == b"GET" and len(words) > 1:
        pattern = words[1][:64].decode("latin-1").lower()
        found: list[Reply] = []
        for name, value in store.config.items():
            if pattern.count("*") <= 4 and fnmatch.fnmatchcase(name, pattern):
                found += [name.encode(), value]
        return found
    if action == b"SET" and len(words) == 3:
        name = words[1].decode("latin-1").lower()
        if name not in store.config:
            return f"-ERR Unknown option or number of arguments for CONFIG SET - '{name[:64]}'"
        store.config[name] = words[2][:512]
        return "+OK"
    if action in (b"REWRITE", b"RESETSTAT"):
        return "+OK"
    return "-ERR unknown subcommand or wrong number of arguments for 'config' command"


def _info(store: Store, words: list[bytes]) -> Reply:
    look, up = store.look, 86_400 * (20 + store.look.seed % 60) + int(time.time()) % 86_400
    lines = (
        "# Server",
        f"redis_version:{look.redis}",
        "redis_git_sha1:00000000",
        "redis_mode:standalone",
        f"os:Linux {look.kernel} x86_64",
        "arch_bits:64",
        f"process_id:{400 + look.seed % 500}",
        f"run_id:{look.seed:08x}{look.seed * 2654435761 % 2**128:032x}",
        "tcp_port:6379",
        f"uptime_in_seconds:{up}",
        f"uptime_in_days:{up // 86_400}",
        "# Clients",
        "connected_clients:2",
        "# Memory",
        "used_memory:1034728",
        "used_memory_human:1010.48K",
        "# Replication",
        "role:master",
        "connected_slaves:0",
        "# Keyspace",
        f"db0:keys={len(store.values)},expires=0,avg_ttl=0",
    )
    return "\r\n".join([*lines, ""]).encode()


def _auth(store: Store, words: list[bytes]) -> Reply:
    return _UNSET


def _get(store: Store, words: list[bytes]) -> Reply:
    return store.values.get(words[0])


def _set(store: Store, words: list[bytes]) -> Reply:
    return store.put(words[0], words[1])


def _append(store: Store, words: list[bytes]) -> Reply:
    value = (store.values.get(words[0], b"") + words[1])[:KEPT_MOST]
    said = store.put(words[0], value)
    return len(value) if said == "+OK" else said


def _incr(store: Store, words: list[bytes]) -> Reply:
    old = store.values.get(words[0], b"0")
    if not (old.isdigit() and len(old) < 18):
        return "-ERR value is not an integer or out of range"
    said = store.put(words[0], b"%d" % (int(old) + 1))
    return int(old) + 1 if said == "+OK" else said


def _flush(store: Store, words: list[bytes]) -> Reply:
    store.delete(list(store.values))
    return "+OK"


def _quit(store: Store, words: list[bytes]) -> Reply:
    store.is_over = True
    return "+OK"


def _say(text: str) -> Callable[[Store, list[bytes]], Reply]:
    return lambda store, words: text


_COMMANDS: dict[str, tuple[int, int, Callable[[Store, list[bytes]], Reply]]] = {
    "PING": (0, 1, lambda s, w: w[0] if w else "+PONG"),
    "ECHO": (1, 1, lambda s, w: w[0]),
    "AUTH": (1, 2, _auth),
    "QUIT": (0, 0, _quit),
    "SELECT": (1, 1, _say("+OK")),
    "INFO": (0, 8, _info),
    "CONFIG": (1, 8, _config),
    "GET": (1, 1, _get),
    "SET": (2, 8, _set),
    "SETNX": (2, 2, lambda s, w: 0 if w[0] in s.values else int(s.put(w[0], w[1]) == "+OK")),
    "APPEND": (2, 2, _append),
    "INCR": (1, 1, _incr),
    "DEL": (1, 64, lambda s, w: s.delete(w)),
    "UNLINK": (1, 64, lambda s, w: s.delete(w)),
    "EXISTS": (1, 64, lambda s, w: sum(key in s.values for key in w)),
    "TYPE": (1, 1, lambda s, w: "+string" if w[0] in s.values else "+none"),
    "TTL": (1, 1, lambda s, w: -1 if w[0] in s.values else -2),
    "STRLEN": (1, 1, lambda s, w: len(s.values.get(w[0], b""))),
    "KEYS": (1, 1, lambda s, w: s.matching(w[0])),
    "SCAN": (1, 8, lambda s, w: [b"0", list(s.values)]),
    "DBSIZE": (0, 0, lambda s, w: len(s.values)),
    "RANDOMKEY": (0, 0, lambda s, w: next(iter(s.values), None)),
    "FLUSHALL": (0, 1, _flush),
    "FLUSHDB": (0, 1, _flush),
    "SAVE": (0, 0, _say("+OK")),
    "BGSAVE": (0, 1, _say("+Background saving started")),
    "LASTSAVE": (0, 0, lambda s, w: int(time.time()) // 3600 * 3600),
    "TIME": (0, 0, lambda s, w: [b"%d" % time.time(), b"0"]),
    "ROLE": (0, 0, lambda s, w: [b"master", 0, []]),
    "COMMAND": (0, 8, lambda s, w: []),
    "CLIENT": (1, 8, _say("+OK")),
    "SLAVEOF": (2, 2, _say("+OK")),
    "REPLICAOF": (2, 2, _say("+OK")),
    "MODULE": (1, 8, _say("-ERR Error loading the extension. Please check the server logs.")),
    "EVAL": (2, 64, _say("-ERR Error compiling script (new function)")),
    "SCRIPT": (1, 8, _say("+OK")),
    "MULTI": (0, 0, _say("-ERR unknown command 'MULTI'")),
    "SUBSCRIBE": (1, 8, lambda s, w: [b"subscribe", w[0], 1]),
    "HELLO": (0, 8, _say("-NOPROTO unsupported protocol version")),
}
