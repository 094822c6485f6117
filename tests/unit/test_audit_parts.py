"""Parts of the audit that need no process of their own."""

from __future__ import annotations

import os
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from zygote.audit import environ, finals, imprints, known, mappings, owners, sdks, twins
from zygote.audit.atexits import Registration
from zygote.audit.report import Finding, explain
from zygote.audit.rules import TABLE
from zygote.audit.state import Settings


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("planted_module")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def of(module: types.ModuleType) -> list[str]:
    return [f.what for f in imprints.look(0.0) if f.module == module.__name__]


def test_imprint_of_the_host(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module.HOST = "build-7"
    monkeypatch.setattr("socket.gethostname", lambda: "build-7")
    assert of(module) == ["global HOST is the host's name"]
    for short in ("db", "localhost"):
        module.HOST = short
        monkeypatch.setattr("socket.gethostname", lambda name=short: name)
        assert of(module) == []


def test_imprint_asks_no_value_that_may_raise(module: types.ModuleType) -> None:
    from datetime import datetime

    module.MIN, module.MAX = datetime.min, datetime.max
    assert of(module) == []


def test_imprint_is_not_what_the_standard_library_has(module: types.ModuleType) -> None:
    import uuid

    module.NAMESPACE, module.OWN = uuid.NAMESPACE_OID, uuid.uuid4()
    assert of(module) == ["global OWN is a UUID"]


def watch() -> environ.Watch:
    return environ.Watch(lambda: "app.settings")


def test_environ_is_watched_and_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAS_THERE", "1")
    plain, seen = type(os.environ), watch()
    with seen.on():
        assert os.environ.get("ASKED") is None
        assert os.getenv("WAS_THERE") == "1"
        assert "ALSO" not in os.environ
        assert dict(os.environ)["WAS_THERE"] == os.environ.copy()["WAS_THERE"] == "1"
        os.environ["MADE"] = "1"
        os.environ.pop("WAS_THERE")
    assert type(os.environ) is plain
    os.environ.get("LATER")
    assert set(seen.readers()) == {"ASKED", "WAS_THERE", "ALSO"}
    [finding] = [f for f in environ.look(seen) if f.rule == "environ-set"]
    assert finding.what == "sets MADE, WAS_THERE (removed)"
    assert finding.module == "app.settings"
    del os.environ["MADE"]


def test_environ_names_the_library_that_reads_for_many() -> None:
    seen = environ.Watch(str)
    seen.reads = {
        "A": {("app.one", "lib"): None, ("app.two", "lib"): None, ("app.three", "lib"): None},
        "B": {("app.one", "lib"): None},
    }
    assert seen.readers() == {"A": ["lib"], "B": ["app.one"]}
    assert [(f.module, f.what) for f in environ.read_by_module(seen)] == [
        ("lib", "reads A"),
        ("app.one", "reads B"),
    ]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASSWORD", True), ("GITHUB_TOKEN", True), ("AWS_SECRET_ACCESS_KEY", True),
        ("apikey", True), ("SENTRY_DSN", True), ("PASSWORD_FILE", False), ("TOKEN_URL", False),
        ("KEYBOARD", False), ("AWS_ACCESS_KEY_ID", False), ("HOME", False),
    ],
)  # fmt: skip
def test_environ_knows_a_secret_by_its_name(name: str, secret: bool) -> None:
    assert environ.is_secret(name) is secret


def test_owners_tell_the_global_through_a_few_steps(module: types.ModuleType) -> None:
    class Holder:
        thing = random.Random(1)

    Holder.__module__ = module.__name__
    one, other, lost = random.Random(2), random.Random(3), [random.Random(4)]
    module.ONE, module.DEEP, module.Holder = one, {"a": [(other,)]}, Holder
    found = owners.owners([one, other, lost[0], Holder.thing])
    assert found[id(one)] == "planted_module.ONE"
    assert found[id(other)] == "planted_module.DEEP"
    assert found[id(Holder.thing)].startswith("planted_module.")
    assert id(lost[0]) not in found
    assert owners.module_of("planted_module.Holder.method") == "planted_module"


MAPS = """\
7f00-7f10 rw-s 00000000 00:01 12 /dev/shm/counter.db
7f10-7f20 r--s 00000000 00:01 13 /var/cache/table
7f20-7f30 r-xp 00000000 00:01 14 /usr/lib/libjemalloc.so.2
7f30-7f40 r-xp 00000000 00:01 15 /usr/lib/libc.so.6
7f40-7f50 rw-p 00000000 00:00 0
"""


def test_mappings_tell_shared_memory_allocators_and_huge_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "/proc/self/maps": MAPS,
        "/proc/self/smaps_rollup": "Rss: 9 kB\nAnonHugePages:     2048 kB\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
    }
    monkeypatch.setattr(mappings, "_read", files.__getitem__)
    found = mappings.look()
    assert [(f.rule, f.what) for f in found] == [
        ("shared-memory", "memory shared for writing (/dev/shm/counter.db)"),
        ("allocator", "the allocator of libjemalloc.so.2"),
        ("huge-pages", "2.0 MB in huge pages"),
    ]
    assert "background_thread:false" in found[1].remedy
    files["/sys/kernel/mm/transparent_hugepage/enabled"] = "always [madvise] never"
    assert [f.rule for f in mappings.look()] == ["shared-memory", "allocator"]


def test_mappings_name_libraries_that_ask_for_fork_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks, does_not, libc = (tmp_path / n for n in ("libasks.so.1", "libquiet.so", "libc.so.6"))
    for path in (asks, libc):
        path.write_bytes(b"\x7fELF...__register_atfork\0")
    does_not.write_bytes(b"\x7fELF...")
    lines = [f"7f00-7f10 r-xp 00000000 00:01 12 {path}" for path in (asks, does_not, libc)]
    monkeypatch.setattr(mappings, "_read", lambda path: "\n".join(lines))
    [finding] = mappings.fork_handlers()
    assert finding.what == "fork handlers of native libraries: libasks.so.1"


def test_finals_blame_the_import_and_leave_out_the_standard_library() -> None:
    def bye() -> None: ...

    entries = [
        Registration(bye, (), {}, "lib.inner", "app.jobs"),
        Registration(print, (), {}, "lib.inner"),
        Registration(os.getcwd, (), {}, "logging"),
    ]
    found = finals.look(entries)
    assert [(f.module, f.what.rpartition(".")[2]) for f in found] == [
        ("app.jobs", "bye to run at exit"),
        ("lib.inner", "print to run at exit"),
    ]


def test_sdks_are_asked_only_where_loaded_and_may_be_of_any_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in sdks._ACTIVE:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert sdks.look() == []
    fake = types.ModuleType("opentelemetry.trace")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", fake)
    assert sdks.look() == []
    fake._TRACER_PROVIDER = object()
    [finding] = sdks.look()
    assert (finding.rule, finding.what) == ("sdk", "OpenTelemetry was started")
    assert "at the start of each worker" in finding.remedy


def test_twins_draw_of_every_source_that_is_loaded() -> None:
    import secrets
    import ssl
    import tempfile
    import uuid

    import numpy.random

    assert all((secrets, ssl, tempfile, uuid, numpy.random))
    one, other = twins.draw(), twins.draw()
    same = {name for name in one if one[name] == other[name]}
    assert {"os.urandom", "random", "secrets", "uuid.uuid4", "OpenSSL", "numpy.random"} <= set(one)
    assert same <= {"multiprocessing"}, "a key that is one for the life of a process"


def test_explain_gives_what_one_library_did_its_remedy() -> None:
    told = Finding("client", "a gRPC channel", remedy="make channels later", module="app")
    silent = Finding("fd", "anon_inode:[eventfd] (fd 5)", module="app")
    elsewhere = Finding("fd", "x (fd 6)", module="other")
    found = explain([told, silent, elsewhere])
    assert [f.remedy for f in found] == [
        "make channels later", "make channels later", TABLE["fd"].remedy,
    ]  # fmt: skip
    two = Finding("thread", "t", remedy="something else", module="app")
    assert explain([told, two, silent])[2].remedy == TABLE["fd"].remedy


def test_explain_leaves_out_the_lock_in_which_a_thread_waits() -> None:
    thread, lock = Finding("thread", "t", module="app"), Finding("held-lock", "l", module="app")
    other = Finding("held-lock", "l", module="lib")
    assert explain([lock, thread, other]) == [thread, other]


def test_known_is_found_by_module_thread_and_path() -> None:
    assert known.find("grpc._channel.Channel").name == "gRPC"  # type: ignore[union-attr]
    assert known.find("", "comm:pymongo_kill_cu").name == "PyMongo"  # type: ignore[union-attr]
    assert known.find("app", "path:/dev/nvidia0").name == "CUDA"  # type: ignore[union-attr]
    assert known.find("grpcish", "app.grpc", "") is None
    assert known.remedy("app") == ""


@pytest.mark.parametrize("library", known.LIBRARIES, ids=lambda library: library.name)
def test_known_entries_say_why_and_what_to_do(library: known.Known) -> None:
    assert library.why and library.remedy
    assert library.modules or library.comms
    assert all(len(comm) <= 15 for comm in library.comms), "the kernel cuts names of threads"


def test_audit_a_cheap_look_compares_with_a_thorough_one() -> None:
    cheap, thorough = Settings.now(limits=False), Settings.now()
    assert cheap.changes(thorough) == thorough.changes(cheap) == {}
