"""`zygotectl audit`: each hazard, planted in a small module, is found and blamed on that module."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.cli import Cli

HAZARDS: dict[str, tuple[str, str, str]] = {
    # module: (its source, the rule, a part of what is found)
    "a_thread": (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, name='sampler', daemon=True).start()",
        "thread", "thread 'sampler'",
    ),
    "a_thread_timer": (
        "import threading\nKEPT = threading.Timer(600, print)\nKEPT.daemon = True\nKEPT.start()",
        "thread", "running threading.Timer",
    ),
    "a_listener": (
        "import socket\nKEPT = socket.create_server(('127.0.0.1', 0))",
        "socket", ", listening at 127.0.0.1:",
    ),
    "a_connection": (
        "import a_listener, socket\n"
        "KEPT = socket.create_connection(a_listener.KEPT.getsockname())",
        "socket", ", connected to 127.0.0.1:",
    ),
    "a_file": ("KEPT = open(__file__)", "fd", "a_file.py (fd "),
    "a_log_file": (
        "import logging\n"
        "logging.getLogger('x').addHandler(logging.FileHandler('x.log'))",
        "fd", "x.log (fd ",
    ),
    "an_epoll": ("import select\nKEPT = select.epoll()", "fd", "anon_inode:[eventpoll]"),
    "an_eventfd": ("import os\nKEPT = os.eventfd(0)", "fd", "anon_inode:[eventfd"),
    "an_inotify": (
        "import ctypes\nKEPT = ctypes.CDLL(None).inotify_init1(0o2000000)", "fd", "inotify",
    ),
    "a_timerfd": (
        "import ctypes\nKEPT = ctypes.CDLL(None).timerfd_create(1, 0)", "fd", "[timerfd]",
    ),
    "a_loop": (
        "import asyncio\nKEPT = asyncio.new_event_loop()", "loop", "that was not closed",
    ),
    "a_child": (
        "import subprocess\nKEPT = subprocess.Popen(['sleep', '600'])",
        "child-process", "process 'sleep'",
    ),
    "a_database": (
        "import sqlite3\nKEPT = sqlite3.connect(':memory:')",
        "sqlite", "an open sqlite3.Connection, held by a_database.KEPT",
    ),
    "a_timer": ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 600)", "timer", "ITIMER_REAL"),
    "a_posix_timer": (
        "import ctypes\n"
        "KEPT = ctypes.c_void_p()\n"
        "assert ctypes.CDLL(None).timer_create(1, None, ctypes.byref(KEPT)) == 0",
        "timer", "1 POSIX timers",
    ),
    "a_native_handler": (
        "import ctypes, signal\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.signal(signal.SIGCONT, ctypes.cast(libc.abs, ctypes.c_void_p))",
        "signal", "SIGCONT: a handler of native code",
    ),
    "a_pool": (
        "import sqlalchemy\n"
        "KEPT = sqlalchemy.create_engine('sqlite://')\n"
        "KEPT.connect().close()",
        "pool", "Pool with 1 open connection, held by a_pool.KEPT",
    ),
    "a_generator": ("import random\nKEPT = random.Random(3)", "random-state", "(random.Random)"),
    "a_deep_generator": (
        "import random\n"
        "class Holder:\n    def __init__(self): self.all = {'one': [random.Random(4)]}\n"
        "KEPT = Holder()",
        "random-state", "held by a_deep_generator.KEPT",
    ),
    "a_numpy_generator": (
        "import numpy\nKEPT = numpy.random.default_rng(1)", "random-state", "Generator",
    ),
    "a_reader": (
        "import os\nKEPT = os.getenv('LOG_LEVEL'), os.environ.get('DATABASE'), {**os.environ}",
        "environ-read", "reads DATABASE, LOG_LEVEL",
    ),
    "a_setter": (
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')",
        "environ-set", "sets DJANGO_SETTINGS_MODULE",
    ),
    "a_temp_folder": (
        "import tempfile\nKEPT = tempfile.TemporaryDirectory()", "temp-file", "a temporary folder",
    ),
    "a_handler": (
        "import signal\ndef on_term(*_): ...\nsignal.signal(signal.SIGTERM, on_term)",
        "signal", "SIGTERM: handler a_handler.on_term",
    ),
    "a_mask": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})",
        "signal", "blocked: SIGUSR1",
    ),
    "an_exit_callback": (
        "import atexit\ndef bye(): ...\natexit.register(bye)", "exit-callback", "registers bye",
    ),
    "a_lock": (
        "import threading\nKEPT = threading.Lock()\nKEPT.acquire()",
        "held-lock", "a lock that is held (lock), held by a_lock.KEPT",
    ),
    "an_rlock": (
        "import threading\nKEPT = threading.RLock()\nKEPT.acquire()",
        "held-lock", "a lock that is held (RLock), held by an_rlock.KEPT",
    ),
    "a_pid": ("import os\nPID = os.getpid()", "imprint", "global PID is the pid"),
    "a_start": (
        "import time\nSTARTED = time.time()", "imprint", "global STARTED is the time of its import",
    ),
    "a_uuid": ("import uuid\nINSTANCE = uuid.uuid4()", "imprint", "global INSTANCE is a UUID"),
    "a_temp_name": (
        "import tempfile\nPATH = tempfile.mkdtemp()", "imprint", "global PATH is a path of temp",
    ),
    "a_shared_map": (
        "import mmap\nKEPT = mmap.mmap(-1, 4096)", "shared-memory", "memory shared for writing",
    ),
    "a_shared_lock": (
        "import multiprocessing\nKEPT = multiprocessing.get_context('fork').Lock()",
        "shared-memory", "a lock of multiprocessing, held by a_shared_lock.KEPT",
    ),
    "a_tracer": ("import tracemalloc\ntracemalloc.start()", "tracer", "tracemalloc is on"),
    "a_nice": ("import os\nos.nice(1)", "process-state", "nice value"),
    "a_limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "process-state", "RLIMIT_CORE (0, 0)",
    ),
}  # fmt: skip
NAMELESS = ("a_posix_timer", "a_native_handler")
"""Read from /proc at the end only: it does not tell who."""
FINE = {
    "fine_uuid": "import uuid\nNAMESPACE = uuid.UUID('a3bb189e-8bf9-4c43-a4b0-9c2a8d6c1f11')",
    "fine_random": "import random\nrandom.seed(4)\nNUMBER = random.random()",
    "fine_engine": "import sqlalchemy\nENGINE = sqlalchemy.create_engine('sqlite://')",
    "fine_loop": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "fine_closed": "open(__file__).close()\nimport sqlite3\nsqlite3.connect(':memory:').close()",
    "fine_thread": "import threading\nthread = threading.Thread(target=len, args=('',))\n"
    "thread.start(); thread.join()",
    "fine_restored": "import os\nos.environ['X'] = '1'\ndel os.environ['X']",
    "fine_copy": "import os\nKEPT = os.environ.copy(), dict(os.environ)",
    "fine_lock": "import threading\nKEPT = threading.Lock(), threading.RLock()",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One audit of all of them: `app` imports `middle`, which imports each."""
    folder = tmp_path_factory.mktemp("planted")
    for name, source in {**{k: v[0] for k, v in HAZARDS.items()}, **FINE}.items():
        (folder / f"{name}.py").write_text(source + "\n")
    names = ", ".join([*HAZARDS, *FINE])
    (folder / "app.py").write_text("import middle\nprint('printed by the program')\n")
    (folder / "middle.py").write_text(f"import json\nimport {names}\n")
    done = Cli(folder)("audit", "app", "--json", code=1, SOME_TOKEN="hush", TOKEN_FILE="x")
    assert "hush" not in done.out
    return done.json


@pytest.mark.parametrize("name", HAZARDS)
def test_audit_finds_the_hazard_and_names_the_module(found: Any, name: str) -> None:
    _, rule, what = HAZARDS[name]
    module = "" if name in NAMELESS else name
    matching = [f for f in found["findings"] if f["module"] == module and f["rule"] == rule]
    assert [f for f in matching if what in f["what"]], [
        f for f in found["findings"] if f["module"] == name or f["rule"] == rule
    ]
    assert all(f["remedy"] for f in matching)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a_thread", 2), ("a_listener", 2), ("a_connection", 2), ("a_file", 1), ("a_log_file", 2),
        ("a_child", 2), ("a_thread_timer", 4),
    ],
)  # fmt: skip
def test_audit_tells_the_line(found: Any, name: str, line: int) -> None:
    refused = ("thread", "socket", "fd", "child-process")
    places = {f["place"] for f in found["findings"] if f["module"] == name and f["rule"] in refused}
    assert places == {f"{name}.py:{line}"}


@pytest.mark.parametrize("name", FINE)
def test_audit_finds_nothing_where_nothing_is(found: Any, name: str) -> None:
    assert [f for f in found["findings"] if f["module"] == name] == []


def test_audit_tells_secrets_by_name_only(found: Any) -> None:
    [secret] = [f for f in found["findings"] if f["rule"] == "secret"]
    assert "SOME_TOKEN" in secret["what"]
    assert "TOKEN_FILE" not in secret["what"]
    assert secret["severity"] == "warn"


def test_audit_json_has_its_keys(found: Any) -> None:
    assert found["ok"] is False
    [audited] = found["audited"]
    assert (audited["name"], audited["python"]) == ("app", sys.version.split()[0])
    assert audited["modules"] > len(HAZARDS)
    for finding in found["findings"]:
        assert {"rule", "severity", "module", "what", "why", "remedy", "allowed", "place"} <= set(
            finding
        )
        assert finding["severity"] in ("refuse", "warn")


REAL = {
    # module: (its source, {(rule, a part of what is found): a part of the remedy})
    "real_numpy": (
        "import numpy",
        {("thread", "of native code"): "OPENBLAS_NUM_THREADS", ("fork-handler", "openblas"): ""},
    ),
    "real_grpc": (
        "import grpc\nKEPT = grpc.insecure_channel('127.0.0.1:1')",
        {
            ("client", "a gRPC channel to dns:///127.0.0.1:1"): "make channels",
            ("thread", "of native code"): "make channels",
            ("fd", "anon_inode:[eventpoll]"): "make channels",
        },
    ),
    "real_prometheus": (
        "import prometheus_client\nKEPT = prometheus_client.Counter('x', 'y')",
        {("fd", "/counter_"): "PROMETHEUS_MULTIPROC_DIR", ("shared-memory", "/counter_"): ""},
    ),
    "real_scheduler": (
        "from apscheduler.schedulers.background import BackgroundScheduler\n"
        "KEPT = BackgroundScheduler()\nKEPT.start()",
        {("thread", "thread 'APScheduler'"): "call start() in the one worker that schedules"},
    ),
    "real_sentry": (
        "import sentry_sdk\n"
        "sentry_sdk.init(dsn='http://key@127.0.0.1:1/1', auto_enabling_integrations=False)",
        {
            ("sdk", "Sentry was started"): "sentry_sdk.init() at the start of each worker",
            ("exit-callback", "AtexitIntegration"): "sentry_sdk.init()",
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One audit of real libraries, used in the way that breaks."""
    folder = tmp_path_factory.mktemp("real")
    for name, (source, _) in REAL.items():
        (folder / f"{name}.py").write_text(source + "\n")
    (folder / "metrics").mkdir()
    env = {"OPENBLAS_NUM_THREADS": "2", "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}
    return Cli(folder)("audit", *REAL, "--json", code=1, **env).json


@pytest.mark.parametrize("name", REAL)
def test_audit_finds_what_real_libraries_leave_behind(real: Any, name: str) -> None:
    owner = "numpy._core._multiarray_umath" if name == "real_numpy" else name
    for (rule, what), remedy in REAL[name][1].items():
        module = "" if rule == "fork-handler" else owner
        matching = [
            f
            for f in real["findings"]
            if (f["rule"], f["module"]) == (rule, module) and what in f["what"]
        ]
        assert matching, [f for f in real["findings"] if f["rule"] == rule]
        assert all(remedy in f["remedy"] for f in matching)
