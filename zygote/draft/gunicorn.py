"""gunicorn.conf.py as a draft. It is code: read by `ast`, never executed.

gunicorn itself becomes the worker: it reads its file on, and the processes that it forks share the
floor, as it does. What only the manager can do is carried over, and what contradicts it is named.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

from zygote.draft.imports import parse
from zygote.draft.model import Worker, fleet_name, literal
from zygote.draft.taker import LOGS, Taker, read_text
from zygote.errors import Exit, ZygoteError

_STAYS = "gunicorn goes on reading it from its file"
_LOST = {
    "daemon": "the manager keeps it in the foreground: take it out of the file, or it is lost",
    "reload": "it watches files: restart the worker instead; take it out of the file",
    "pidfile": "`status web` tells the pid; the file goes on being written",
    "max_requests": "max_private recycles a worker by what it has un-shared; gunicorn goes on "
    "counting requests",
    "max_requests_jitter": "as max_requests",
    "timeout": "gunicorn goes on watching its processes; `watchdog` would watch gunicorn",
    "errorlog": LOGS, "accesslog": LOGS,
    "user": "gunicorn changes to it by itself; `user` of the worker would make it start so",
    "group": "as user",
}  # fmt: skip


def read(path: Path, home: Path) -> Taker:
    """A draft of one worker, gunicorn, which reads the file itself.

    Raises:
        ZygoteError: code cannot-read, or not-python.
    """
    read_text(path)  # for its errors
    tree = parse(path)
    if tree is None:
        raise ZygoteError(
            f"{path.name} is not Python that this interpreter reads",
            code="not-python", hint="a gunicorn.conf.py is wanted", exit_code=Exit.FAILED,
        )  # fmt: skip
    taker = Taker(path, home, fleet_name(home.name))
    worker = Worker("web", said=[f"gunicorn, with {path.name}; its processes are its own, and are "
                                 "forked from this worker, so they share the floor."])  # fmt: skip
    settings = _settings(tree)
    app = ""
    for name, (value, line) in settings.items():
        what = f"{name} = {_shown(value)}"
        match name:
            case "wsgi_app" if isinstance(value, str):
                app = value
            case "chdir" if isinstance(value, str):
                taker.put(worker, "cwd", literal(value), line, what)
            case "graceful_timeout" if isinstance(value, int | float):
                # gunicorn asks its own processes first, and waits for them.
                taker.put(worker, "stop_grace", math.ceil(value) + 5, line, what)
            case "raw_env" if isinstance(value, list) and all(isinstance(v, str) for v in value):
                pairs = dict(each.partition("=")[::2] for each in value)
                taker.put(worker, "env", {k: literal(v) for k, v in pairs.items()}, line, what)
            case "umask" if isinstance(value, int):
                taker.put(worker, "umask", f"{value:04o}", line, what)
            case "proc_name" if isinstance(value, str):
                taker.put(worker, "title", value, line, what)
            case "preload_app":
                worker.said.append("preload_app: the floor has the application anyway.")
            case "daemon" | "reload" if value is False:
                pass
            case _ if name in _LOST:
                taker.lose(line, what, _LOST[name])
            case _ if name in _WELL_KNOWN:
                worker.said.append(f"{name}: {_STAYS}.")
            case _:
                taker.lose(line, what, _STAYS)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            taker.lose(node.lineno, f"def {node.name}", f"a hook; {_STAYS}")
    args = ["--config", str(path.relative_to(home)) if path.is_relative_to(home) else str(path)]
    worker.keys = {"run": "gunicorn", "args": args, **worker.keys}
    worker.entry = ["gunicorn"]
    if app:
        worker.entry.append(app.partition(":")[0])
    else:
        taker.off(
            worker, "gunicorn", 1,
            "the file names no application (wsgi_app): put it at the end of args, \"shop.web:app\"",
        )  # fmt: skip
        worker.keys["run"] = "gunicorn"
    taker.draft.workers.append(worker)
    return taker


_WELL_KNOWN = ("bind", "workers", "threads", "worker_class", "keepalive", "loglevel", "backlog",
               "worker_connections", "worker_tmp_dir", "forwarded_allow_ips")  # fmt: skip
_UNKNOWN = object()


def _settings(tree: ast.Module) -> dict[str, tuple[Any, int]]:
    """Names that the file sets at its top level, with their values where these are literals."""
    found: dict[str, tuple[Any, int]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and not target.id.startswith("_"):
                    found[target.id] = (_literal(node.value), node.lineno)
    return found


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN


def _shown(value: Any) -> str:
    return "…" if value is _UNKNOWN else repr(value)
