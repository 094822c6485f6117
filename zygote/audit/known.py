"""Libraries that are known to do something at import or at fork, and what to do about each.

An entry makes a finding's remedy better; it is never a finding by itself. It is chosen by the
module that is at fault (or that a thread runs code of), by the name of a native thread, or by the
path of an open file. `why` is what the library's documentation or its bug reports say.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """What is known of a library.

    Attributes:
        name: as people call it.
        modules: top-level modules, or dotted ones, with all below them.
        why: what it does to a process that is cloned.
        remedy: what to do instead; one clause.
        comms: what names of its native threads begin with (at most 15 bytes).
        paths: what paths of its files and devices contain.
        variables: what C code reads once, when the library is loaded.
    """

    name: str
    modules: tuple[str, ...]
    why: str
    remedy: str
    comms: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


LIBRARIES = (
    Known(
        "gRPC",
        ("grpc", "grpc_status", "google.api_core", "google.cloud"),
        "a channel or server starts threads of its C core, whose locks a clone finds held; its own "
        "support for forks has deadlocked (grpc/grpc#15334, #22624)",
        "importing grpc is safe: make channels, stubs and servers in the worker",
        comms=("grpc_", "event_engine", "lifeguard", "timer_manager", "resolver-exec"),
    ),
    Known(
        "OpenBLAS",
        ("numpy.linalg", "numpy._core._multiarray_umath", "numpy.core._multiarray_umath", "scipy"),
        "it starts a pool of threads when it is loaded, one for each CPU, and its fork handler "
        "does not run in a clone (OpenMathLib/OpenBLAS#240, #294)",
        'env = { OPENBLAS_NUM_THREADS = "1" } in [zygote.NAME]: it is read when numpy is loaded',
        comms=("openblas",),
        variables=("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    ),
    Known(
        "OpenMP and MKL",
        ("mkl", "sklearn", "numexpr", "threadpoolctl"),
        "a pool that was used once is waited for in the clone, where its threads are missing",
        'env = { OMP_NUM_THREADS = "1", MKL_NUM_THREADS = "1" } in [zygote.NAME], or compute '
        "nothing while importing and warming up",
        comms=("OMP", "iomp", "libgomp"),
        variables=("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    ),
    Known(
        "CUDA",
        ("torch.cuda", "cupy", "pycuda", "numba.cuda", "jax", "jaxlib", "tensorflow"),
        "a context cannot be used in a clone: the driver refuses it",
        "touch no device before the fork: no tensors on it, no torch.cuda.* that makes a context; "
        "load the model to the device in the worker",
        comms=("cuda-", "cuda"),
        paths=("/dev/nvidia", "/dev/dri/", "/dev/kfd"),
    ),
    Known(
        "PyTorch",
        ("torch",),
        "parallel operators start a pool that a clone lacks, and autograd's threads die with it",
        "import it, but run no operator and no backward pass before the fork; or "
        "torch.set_num_threads(1) first",
        comms=("pt_", "caffe2"),
        variables=("OMP_NUM_THREADS",),
    ),
    Known(
        "Sentry",
        ("sentry_sdk",),
        "its transport, monitor and session threads are missing in a clone, and what they had "
        "queued is sent by nobody (getsentry/sentry-python#6148, #6149)",
        "call sentry_sdk.init() at the start of each worker",
        comms=("sentry",),
    ),
    Known(
        "OpenTelemetry",
        ("opentelemetry",),
        "batch processors and metric readers export from a thread that a clone lacks "
        "(open-telemetry/opentelemetry-python#2242, #3307)",
        "set up the tracer and meter providers at the start of each worker",
        comms=("OtelBatch", "OtelPeriodic"),
    ),
    Known(
        "Datadog",
        ("ddtrace", "datadog"),
        "its writers are threads, and logging in its fork hooks has deadlocked "
        "(DataDog/dd-trace-py#18900, datadogpy#836)",
        "start it in the worker (ddtrace.auto, datadog.initialize), not in the floor",
        comms=("ddtrace",),
    ),
    Known(
        "New Relic",
        ("newrelic",),
        "its agent connects and harvests in a thread",
        "call newrelic.agent.initialize() and register_application() in the worker",
        comms=("NR-",),
    ),
    Known(
        "prometheus-client, multi-process",
        ("prometheus_client",),
        "with PROMETHEUS_MULTIPROC_DIR set, each metric maps a file named by the pid of the "
        "process that made it (prometheus/client_python#127); all workers would write to it",
        "set PROMETHEUS_MULTIPROC_DIR in the workers' env and make metrics in the worker; without "
        "that variable a metric made at import is safe, and counts for each worker alone",
        paths=("prometheus", "/counter_", "/gauge_", "/histogram_", "/summary_"),
        variables=("PROMETHEUS_MULTIPROC_DIR",),
    ),
    Known(
        "APScheduler",
        ("apscheduler",),
        "BackgroundScheduler.start() starts the thread that would run the jobs; no worker has it",
        "make and configure the scheduler anywhere, call start() in the one worker that schedules",
        comms=("APScheduler",),
    ),
    Known(
        "PyMongo",
        ("pymongo", "motor", "mongoengine"),
        "a MongoClient that has connected has monitor threads and a pool of sockets; its "
        "documentation says to make one in each process after the fork",
        "make MongoClient in the worker, or with connect=False",
        comms=("pymongo",),
    ),
    Known(
        "SQLAlchemy",
        ("sqlalchemy", "sqlmodel", "flask_sqlalchemy"),
        "a pool that has connected hands one connection to several workers "
        '("bad record mac", lost answers)',
        "make the engine anywhere, but connect in the worker; after a warm-up engine.dispose()",
    ),
    Known(
        "Django",
        ("django.db",),
        "a connection that was opened at import is one for all workers",
        "query nothing at import; django.db.connections.close_all() after a warm-up",
    ),
    Known(
        "psycopg, asyncpg, MySQL drivers",
        ("psycopg", "psycopg2", "psycopg_pool", "asyncpg", "MySQLdb", "pymysql", "mysql"),
        "two processes talking on one connection garble it",
        "connect in the worker",
    ),
    Known(
        "Redis",
        ("redis", "rq", "celery", "kombu", "dramatiq"),
        "its pool notices a fork and connects anew, but the old connection stays shared",
        "make the client anywhere, send its first command in the worker",
    ),
    Known(
        "Kafka clients",
        ("confluent_kafka", "kafka", "aiokafka"),
        "a producer or consumer is made of threads (of librdkafka, or Python's)",
        "make producers and consumers in the worker",
        comms=("rdk:",),
    ),
    Known(
        "ZeroMQ",
        ("zmq",),
        "a context has threads for its I/O, and its sockets must not cross a fork",
        "make zmq.Context() in the worker",
        comms=("ZMQbg",),
    ),
    Known(
        "boto3",
        ("boto3", "botocore", "s3transfer"),
        "a client keeps connections, and transfers run in threads",
        "make sessions and clients in the worker; to load its data files beforehand is safe",
    ),
    Known(
        "HTTP clients",
        ("requests", "urllib3", "httpx", "httpx2", "aiohttp", "openai", "anthropic"),
        "a client that has sent something keeps the connection for the next request",
        "send nothing while importing; or close the client, and make another in the worker",
    ),
    Known(
        "Ray and Dask",
        ("ray", "dask", "distributed"),
        "both start threads, processes and sockets of their own",
        "call ray.init() or make the Client in the worker",
    ),
    Known(
        "pyarrow",
        ("pyarrow",),
        "the jemalloc in it starts a thread when it is loaded, its pools with the first operation",
        'env = { JE_ARROW_MALLOC_CONF = "background_thread:false" } in [zygote.NAME], and no '
        "operation before the fork",
        variables=("JE_ARROW_MALLOC_CONF", "ARROW_IO_THREADS", "OMP_NUM_THREADS"),
    ),
    Known(
        "polars",
        ("polars", "_polars_runtime_32", "_polars_runtime_64", "_polars_runtime_compat"),
        "importing it starts threads, its pool of threads comes with the first operation, and its "
        "documentation says that it deadlocks after a fork",
        "import it in the worker",
        comms=("polars-",),
        variables=("_RJEM_MALLOC_CONF", "POLARS_MAX_THREADS"),
    ),
    Known(
        "jemalloc",
        (),
        "its background thread purges memory; 5.2 and older have deadlocked at forks "
        "(jemalloc/jemalloc#2019, #2402)",
        'env = { MALLOC_CONF = "background_thread:false" } in [zygote.NAME], or without LD_PRELOAD',
        comms=("jemalloc_bg_thd", "libjemalloc"),
        variables=("MALLOC_CONF",),
    ),
    Known(
        "gevent and eventlet",
        ("gevent", "eventlet"),
        "its hub has an epoll of its own, and patched modules use it",
        "patch and start the hub in the worker",
        comms=("gevent",),
    ),
    Known(
        "uvloop",
        ("uvloop",),
        "a loop that was made before the fork must not run after it",
        "make the loop in the worker",
    ),
    Known(
        "tqdm",
        ("tqdm",),
        "its monitor is a thread that the first progress bar starts",
        "show no progress while importing, or set tqdm.tqdm.monitor_interval = 0 before",
    ),
    Known(
        "watchdog and inotify",
        ("watchdog", "inotify_simple", "watchfiles"),
        "an observer is a thread with an inotify of its own",
        "start the observer in the worker",
    ),
    Known(
        "multiprocessing and executors",
        ("multiprocessing", "concurrent.futures", "joblib", "loky"),
        "pools have threads and processes that no worker inherits",
        "make the pool in the worker that uses it",
    ),
    Known(
        "logging queues",
        ("logging.handlers",),
        "a QueueListener is a thread; records of workers would be queued for nobody",
        "start the listener in the worker (or log to stderr: each worker has a log of its own)",
    ),
)  # fmt: skip


def find(*names: str) -> Known | None:
    """The first entry that one of the names belongs to.

    Args:
        names: dotted names of modules, types or functions; "comm:NAME" of a native thread;
            "path:PATH" of an open file. The most telling one first.
    """
    for name in names:
        kind, colon, rest = name.partition(":")
        for each in LIBRARIES:
            if colon and kind == "comm" and any(map(rest.startswith, each.comms)):
                return each
            if colon and kind == "path" and any(part in rest for part in each.paths):
                return each
            if not colon and any(name == one or name.startswith(one + ".") for one in each.modules):
                return each
    return None


def remedy(*names: str) -> str:
    """What is known to help, with the reason; "" where nothing is known."""
    found = find(*names)
    return f"{found.remedy} ({found.name}: {found.why})" if found else ""
