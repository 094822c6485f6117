"""Entry points in one file of a project: applications, task queues, programs."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zygote.draft.imports import call_name, parse

_ASGI = {"FastAPI": "FastAPI", "Starlette": "Starlette", "Litestar": "Litestar", "Quart": "Quart",
         "BlackSheep": "BlackSheep"}  # fmt: skip
_WSGI = {"Flask": "Flask", "Bottle": "Bottle", "Falcon": "Falcon"}
_HUEY = ("RedisHuey", "SqliteHuey", "FileHuey", "MemoryHuey", "PriorityRedisHuey", "Huey")
_FACTORIES = ("create_app", "make_app", "get_app", "build_app", "create_application")
_SERVES = {
    "serve_forever", "run_forever", "serve", "start_consuming", "start_server", "run_app",
    "start_polling", "run_polling", "work", "consume", "run_until_complete",
}  # fmt: skip
_MAINS = ("main", "run", "serve", "worker", "run_worker", "loop")
_RUN_OWNERS = ("asyncio", "uvicorn", "anyio", "trio", "app", "bot", "server", "worker", "web")


@dataclass
class Finding:
    """One entry point.

    Attributes:
        kind: script, asgi, wsgi, django, celery, dramatiq, arq, huey, program.
        entry: the project's modules, and libraries, that it consists of.
        serves: it seems not to end by itself.
        needs: a package without which it cannot be started, "": none.
    """

    kind: str
    name: str
    run: str
    args: list[str]
    why: str
    entry: list[str]
    serves: bool = True
    needs: str = ""
    env: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def look(file: Path, module: str, label: str) -> Iterator[Finding]:
    """Applications and queues that a file defines."""
    tree = parse(file)
    if tree is None or not module:
        return
    if file.name == "manage.py" and (settings := _django_settings(tree)):
        yield _django(file, settings, label)
        return
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                yield from _made(call_name(node.value), target.id, module, label, node.lineno)
        elif isinstance(node, ast.FunctionDef) and node.name in _FACTORIES:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and call_name(inner) in {**_ASGI, **_WSGI}:
                    yield _web(call_name(inner), node.name, module, label, node.lineno, True)
                    break
        elif isinstance(node, ast.ClassDef) and node.name == "WorkerSettings":
            yield Finding(
                "arq", "arq", "arq", [f"{module}.WorkerSettings"],
                f"{label}:{node.lineno} has arq's WorkerSettings", ["arq", module], needs="arq",
            )  # fmt: skip
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            "dramatiq" in ast.dump(each) for each in node.decorator_list
        ):
            yield Finding(
                "dramatiq", "dramatiq", "dramatiq", [module, "--processes", "1"],
                f"{label}:{node.lineno} has an actor of dramatiq", ["dramatiq", module],
                needs="dramatiq", said=["For more processes, make more workers: each shares "
                                        "the floor."],
            )  # fmt: skip
            return


def _made(called: str, name: str, module: str, label: str, line: int) -> Iterator[Finding]:
    """`name = called(…)` at a module's top level."""
    if called in _ASGI or called in _WSGI:
        yield _web(called, name, module, label, line, False)
    elif called == "Celery":
        yield Finding(
            "celery", "celery", "celery", ["-A", f"{module}:{name}", "worker", "--loglevel=INFO"],
            f"{label}:{line} makes a Celery application", ["celery", module], needs="celery",
            said=["Its pool is forked from this worker, and so shares the floor, too."],
        )  # fmt: skip
    elif called in _HUEY:
        yield Finding(
            "huey", "huey", "huey.bin.huey_consumer", [f"{module}.{name}"],
            f"{label}:{line} makes a {called}", ["huey", module], needs="huey",
        )  # fmt: skip


def _web(called: str, name: str, module: str, label: str, line: int, factory: bool) -> Finding:
    why = f"{label}:{line} {'has a factory of' if factory else 'makes'} a {called} application"
    app = f"{module}:{name}"
    if called in _ASGI:
        server = _installed("uvicorn", "hypercorn")
        if server == "hypercorn":
            call = "()" if factory else ""
            args = ["--bind", "127.0.0.1:${PORT:-8000}", f"{app}{call}"]
        else:
            more = ["--factory"] if factory else []
            args = [app, *more, "--host", "127.0.0.1", "--port", "${PORT:-8000}"]
        return Finding("asgi", "web", server, args, why, [server, module], needs=server)
    call = "()" if factory else ""
    server = _installed("gunicorn", "waitress", "flask" if called == "Flask" else "gunicorn")
    if server == "gunicorn":
        args = ["--bind", "127.0.0.1:${PORT:-8000}", f"{app}{call}"]
    elif server == "waitress":
        more = ["--call"] if factory else []
        args = ["--listen", "127.0.0.1:${PORT:-8000}", *more, app]
    else:
        args = ["--app", app, "run", "--port", "${PORT:-8000}"]
    said = ["This is Flask's server for development; install gunicorn or waitress for more."]
    return Finding(
        "wsgi", "web", server, args, why, [server, module], needs=server,
        said=said if server == "flask" else [],
    )  # fmt: skip


def _django(file: Path, settings: str, label: str) -> Finding:
    project = settings.partition(".")[0]
    env = {"DJANGO_SETTINGS_MODULE": settings}
    why = f"{label} is Django's, with the settings {settings}"
    server = _installed("gunicorn", "uvicorn", "")
    folder = file.parent / project
    if server == "gunicorn" and (folder / "wsgi.py").is_file():
        args = ["--bind", "127.0.0.1:${PORT:-8000}", f"{project}.wsgi:application"]
        entry = ["django", "gunicorn", settings]
    elif server and (folder / "asgi.py").is_file() and _installed("uvicorn", "") == "uvicorn":
        server = "uvicorn"
        args = [f"{project}.asgi:application", "--port", "${PORT:-8000}"]
        entry = ["django", "uvicorn", settings]
    else:
        return Finding(
            "django", "web", f"./{label}", ["runserver", "--noreload", "127.0.0.1:${PORT:-8000}"],
            why, ["django", settings], needs="django", env=env,
            said=["This is Django's server for development; install gunicorn for more."],
        )  # fmt: skip
    return Finding("django", "web", server, args, why, entry, needs=server, env=env)


def _django_settings(tree: ast.Module) -> str:
    """What manage.py sets DJANGO_SETTINGS_MODULE to by default."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and call_name(node) == "setdefault" and len(node.args) == 2:
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if len(words) == 2 and words[0] == "DJANGO_SETTINGS_MODULE":
                return str(words[1])
    return ""


def _installed(*names: str) -> str:
    """The first of these packages that is here, else the first."""
    for name in names:
        if not name or importlib.util.find_spec(name):
            return name
    return names[0]


def program(file: Path, module: str, label: str) -> Finding | None:
    """A package's __main__.py, or a file with `if __name__ == "__main__"`; None for others."""
    tree = parse(file)
    if tree is None:
        return None
    serving = serves(file)
    if file.name == "__main__.py" and module.endswith(".__main__"):
        package = module.removesuffix(".__main__")
        why = f"{label}: the package can be run, as python -m {package}"
        return Finding("program", package, package, [], why, [module], serving)
    if not any(isinstance(node, ast.If) and _guards(node) for node in tree.body):
        return _function(tree, module, label)
    if "/" in label and not serving:
        return None  # a module that can be tried by itself, most likely
    run = module if "." in module else f"./{label}"
    return Finding(
        "program", file.stem, run, [], f"{label} can be run as a program", [module] * bool(module),
        serving,
    )  # fmt: skip


def _function(tree: ast.Module, module: str, label: str) -> Finding | None:
    """`def main()` with a loop that does not end."""
    for node in tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and module
            and node.name in _MAINS
            and not node.args.args
            and _serves(node)
        ):
            name = module.rpartition(".")[2]
            why = f"{label}:{node.lineno} {node.name}() has a loop that does not end"
            return Finding("function", name, f"{module}:{node.name}", [], why, [module])
    return None


def _guards(node: ast.If) -> bool:
    text = ast.dump(node.test)
    return "'__name__'" in text and "'__main__'" in text


def serves(file: Path) -> bool:
    """Whether something in a file looks as if it went on for ever."""
    tree = parse(file)
    return tree is not None and _serves(tree)


def _serves(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            return True
        if isinstance(node, ast.Call):
            name = call_name(node)
            if name in _SERVES:
                return True
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            if name == "run" and isinstance(owner, ast.Name) and owner.id in _RUN_OWNERS:
                return owner.id != "asyncio" or _loops(tree)
    return False


def _loops(tree: ast.AST) -> bool:
    """`asyncio.run(main())` serves if something waits for ever."""
    return any(
        isinstance(node, ast.Call) and call_name(node) in ("Event", "sleep", "Future")
        for node in ast.walk(tree)
    )
