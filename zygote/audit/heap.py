"""Rules for objects that only a walk over the heap finds.

A SQLite handle in a floor is worse than a descriptor: POSIX locks belong to a process, so a clone
that uses *or merely closes* its copy drops the locks of the original and can corrupt the file. An
in-memory database has no descriptor, but its connection remembers the thread that made it. A
generator of random numbers gives every worker the same numbers. A lock that is held now is held
in every worker. Pools and clients that have connected are one for all.

The walk sees what the collector tracks: it must come before the freeze.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from zygote.audit import known
from zygote.audit.owners import module_of, owners
from zygote.audit.report import Finding


class Kind(NamedTuple):
    """A kind of object that matters.

    Attributes:
        rule: the rule that it falls under.
        what: says what it is; "" if this one is harmless. Must not act on it.
    """

    rule: str
    what: Callable[[Any], str]


def scan() -> list[Finding]:
    """Walk over all objects, once; then look for who holds what was found."""
    found: list[tuple[str, str, Any]] = []
    kinds: dict[type, Kind | None] = {}
    spared = _spared()
    for thing in gc.get_objects():
        # By type, not isinstance: that would ask `__class__` of proxies, which may act on it.
        of = type(thing)
        try:
            kind = kinds[of]
        except KeyError:
            kind = kinds[of] = _kind_of(of)
        if kind is not None and id(thing) not in spared and (what := _describe(kind, thing)):
            found.append((kind.rule, what, thing))
    places = owners([thing for _, _, thing in found]) if found else {}
    return [
        _finding(rule, what, thing, places)
        for rule, what, thing in found
        if rule not in _OWNED or not _is_internal(places.get(id(thing), ""))
    ]


def _finding(rule: str, what: str, thing: Any, places: dict[int, str]) -> Finding:
    place = places.get(id(thing), "")
    of = type(thing)
    remedy = known.remedy(f"{of.__module__}.{of.__qualname__}", module_of(place))
    if place:
        what += f", held by {place}"
    return Finding(rule, what, remedy=remedy, module=module_of(place))


def _is_internal(place: str) -> bool:
    """Held by no module that we know of, or by Python's own: its business, and in order."""
    return not place or place.partition(".")[0] in sys.stdlib_module_names


def _describe(kind: Kind, thing: Any) -> str:
    try:
        return kind.what(thing)
    except Exception:  # a version of the library that we do not know
        return ""


def _kind_of(of: type) -> Kind | None:
    """By the names of a type and its bases: nothing is imported for this."""
    for base in type.mro(of) if of is not type else ():
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _NONE:
            return None
        if name in KINDS:
            return KINDS[name]
    return None


def _spared() -> set[int]:
    """What each process makes its own: held by the standard library, or seeded anew by a worker."""
    random: Any = sys.modules.get("random")
    names: Any = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
    numpy: Any = sys.modules.get("numpy.random.mtrand")
    spared = {
        id(thing)
        for thing in (
            getattr(random, "_inst", None),
            getattr(names, "_rng", None),
            getattr(numpy, "_rand", None),
            getattr(getattr(numpy, "_rand", None), "_bit_generator", None),
        )
    }
    main: Any = threading.main_thread()
    spared.add(id(getattr(main, "_tstate_lock", None)))  # up to 3.12, held as long as it lives
    return spared


def _sqlite(connection: Any) -> str:
    try:
        connection.total_changes  # noqa: B018
    except Exception as error:
        if "closed" in str(error):
            return ""
    return "an open sqlite3.Connection"


def _loop(loop: Any) -> str:
    if loop.is_closed():
        return ""
    return f"an event loop that was not closed ({type(loop).__name__})"


def _random(generator: Any) -> str:
    of = type(generator)
    return f"a generator of random numbers ({of.__module__.partition('._')[0]}.{of.__name__})"


def _lock(lock: Any) -> str:
    held = lock.locked() if hasattr(lock, "locked") else "owner=0 " not in repr(lock)
    return f"a lock that is held ({type(lock).__name__})" if held else ""


def _pool(pool: Any) -> str:
    if hasattr(pool, "_all_conns"):
        count = len(pool._all_conns)
    elif hasattr(pool, "checkedin"):
        count = pool.checkedin() + pool.checkedout()
    else:
        count = int("connection" in vars(pool))  # StaticPool's, once it has connected
    plural = "s" * (count > 1)
    return f"a {type(pool).__name__} with {count} open connection{plural}" if count else ""


def _channel(channel: Any) -> str:
    target = channel._channel.target()
    return f"a gRPC channel to {target.decode() if isinstance(target, bytes) else target}"


def _mongo(client: Any) -> str:
    return "a MongoClient that has connected" if client._topology._opened else ""


def _named(what: str) -> Callable[[Any], str]:
    return lambda _thing: what


def _folder(folder: Any) -> str:
    return f"a temporary folder ({folder.name})" if folder._finalizer.alive else ""


def _file(file: Any) -> str:
    return "" if file.closed else f"a temporary file ({file.name})"


KINDS = {
    "sqlite3.Connection": Kind("sqlite", _sqlite),
    "asyncio.base_events.BaseEventLoop": Kind("loop", _loop),
    "uvloop.Loop": Kind("loop", _loop),
    "uvloop.loop.Loop": Kind("loop", _loop),
    "random.Random": Kind("random-state", _random),
    "numpy.random._generator.Generator": Kind("random-state", _random),
    "numpy.random.mtrand.RandomState": Kind("random-state", _random),
    "torch._C.Generator": Kind("random-state", _random),
    "_thread.lock": Kind("held-lock", _lock),
    "_thread.RLock": Kind("held-lock", _lock),
    "sqlalchemy.pool.base.Pool": Kind("pool", _pool),
    "grpc._channel.Channel": Kind("client", _channel),
    "grpc.aio._channel.Channel": Kind("client", _named("an asyncio gRPC channel")),
    "grpc._server._Server": Kind("client", _named("a gRPC server")),
    "pymongo.synchronous.mongo_client.MongoClient": Kind("client", _mongo),
    "pymongo.mongo_client.MongoClient": Kind("client", _mongo),
    "confluent_kafka.cimpl.Producer": Kind("client", _named("a Kafka producer")),
    "confluent_kafka.cimpl.Consumer": Kind("client", _named("a Kafka consumer")),
    "zmq.sugar.context.Context": Kind("client", _named("a ZeroMQ context")),
    "tempfile.TemporaryDirectory": Kind("temp-file", _folder),
    "tempfile._TemporaryFileWrapper": Kind("temp-file", _file),
    "multiprocessing.synchronize.SemLock": Kind(
        "shared-memory", _named("a lock of multiprocessing")
    ),
}
"""Types by name, those derived from them included."""

_NONE = ("random.SystemRandom",)
_OWNED = ("held-lock", "random-state")
"""Rules for what is no hazard in the hands of the standard library."""
