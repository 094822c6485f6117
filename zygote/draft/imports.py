"""What a project's entry points import, found by reading them: a guess at what to preload."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zygote.audit import known
from zygote.draft.model import Draft

_AT_IMPORT = {
    "Thread", "Timer", "Process", "Pool", "ThreadPoolExecutor", "ProcessPoolExecutor", "connect",
    "create_engine", "create_async_engine", "create_connection", "create_server", "open", "Redis",
    "StrictRedis", "from_url", "MongoClient", "KafkaProducer", "KafkaConsumer", "insecure_channel",
    "secure_channel", "BackgroundScheduler", "serve_forever", "run_forever", "start_server",
    "basicConfigFromServer", "start_http_server", "Popen", "fork", "sleep", "input",
}  # fmt: skip
"""Calls that leave something which a fork must not inherit, or that do not come back."""

_MOST_MODULES = 2000
_MOST_BYTES = 2_000_000
_BOTHERSOME = ("polars", "_polars_runtime_32")


@dataclass
class Source:
    """A module of the project.

    Attributes:
        imports: (name, line, whether it is surely a module); those of functions left out.
        hazards: what it does when it is imported that a floor must not, with its line.
    """

    file: Path
    imports: list[tuple[str, int, bool]] = field(default_factory=list)
    hazards: list[str] = field(default_factory=list)


class Project:
    """Modules of a project by name.

    Args:
        roots: folders that would be in sys.path.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = list(roots)
        self._known: dict[str, Source | None] = {}

    def find(self, name: str) -> Source | None:
        """A module of the project, read; None if it is not one."""
        if name not in self._known:
            file = self._file(name)
            self._known[name] = read(file, name) if file else None
        return self._known[name]

    def is_local(self, name: str) -> bool:
        """Whether its top-level package stands in the project."""
        top = name.partition(".")[0]
        return any((r / top).is_dir() or (r / f"{top}.py").is_file() for r in self._roots)

    def _file(self, name: str) -> Path | None:
        for root in self._roots:
            base = root.joinpath(*name.split("."))
            for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
                if file.is_file():
                    return file
        return None

    def label(self, file: Path) -> str:
        """A file as a person calls it."""
        for root in sorted(self._roots, key=lambda each: len(str(each))):
            if file.is_relative_to(root):
                return str(file.relative_to(root))
        return str(file)


def read(file: Path, name: str) -> Source:
    """What a file imports at its top level, and does."""
    source = Source(file)
    tree = parse(file)
    if tree is None:
        return source
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in at_import(tree):
        if isinstance(node, ast.Import):
            source.imports += [(alias.name, node.lineno, True) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            source.imports.append((base, node.lineno, True))
            source.imports += [(f"{base}.{alias.name}", node.lineno, False) for alias in node.names]
        elif isinstance(node, ast.Call) and (called := call_name(node)) in _AT_IMPORT:
            source.hazards.append(f"line {node.lineno} calls {called}()")
        elif isinstance(node, ast.While):
            source.hazards.append(f"line {node.lineno} has a loop")
    return source


def parse(file: Path) -> ast.Module | None:
    """A file's tree; None if it is not Python that this interpreter reads."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run when a module is imported: no function bodies, no `if __name__ == …`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                yield decorator
                yield from at_import(decorator)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.If) and _is_guard(node.test):
            for other in node.orelse:
                yield other
                yield from at_import(other)
            continue
        yield node
        yield from at_import(node)


def _is_guard(test: ast.expr) -> bool:
    text = ast.dump(test)
    return "'__name__'" in text or "TYPE_CHECKING" in text


def call_name(node: ast.Call) -> str:
    """The last part of what is called."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def propose(draft: Draft, project: Project, *, skip: Sequence[str] = ()) -> None:
    """Fill a draft's `preload` and `left_out` with what its workers' modules import.

    Args:
        skip: modules not to be preloaded themselves (programs that `python -m` runs).
    """
    outer: dict[str, list[tuple[str, str]]] = {}
    inner: dict[str, str] = {}
    for worker in draft.workers:
        for module in worker.entry:
            if not worker.off and worker.keys.get("autostart") is not False:
                _walk(module, worker.name, project, outer, inner)
    own = {name: why for name, why in inner.items() if name not in skip}
    left_out = {name: found for name in own if (found := _hazards(name, project, set()))}
    own = {name: why for name, why in own.items() if name not in left_out}
    for module, importers in outer.items():
        # What a module of the floor imports comes with it: then its first name says enough.
        covered = any(importer in own for importer, _ in importers)
        name = module.partition(".")[0] if covered else module
        if name.partition(".")[0] in _BOTHERSOME and (library := known.find(name)):
            draft.left_out[name] = f"{library.why}; {library.remedy}"
        else:
            draft.preload.setdefault(name, importers[0][1])
    if any(name.partition(".")[0] in ("numpy", "scipy", "pandas") for name in draft.preload):
        draft.zygote.setdefault("env", {})["OPENBLAS_NUM_THREADS"] = "1"
        draft.zygote_said.append(
            "OPENBLAS_NUM_THREADS: numpy would start threads when it is imported, and no worker "
            "would have them."
        )
    draft.preload |= _outermost(own, project)
    draft.left_out |= left_out


def _outermost(own: dict[str, str], project: Project) -> dict[str, str]:
    """Without modules that another one of them brings along."""
    brought: set[str] = set()
    for name in own:
        if name in brought:
            continue
        todo, seen = [name], {name}
        while todo:
            source = project.find(todo.pop())
            for each, _, _ in source.imports if source else ():
                if each in own and each not in seen:
                    seen.add(each)
                    todo.append(each)
        brought |= seen - {name}
        brought |= {other for other in own if name.startswith(f"{other}.")}
    return {name: why for name, why in own.items() if name not in brought}


def _walk(
    entry: str, worker: str, project: Project, outer: dict[str, list[tuple[str, str]]],
    inner: dict[str, str],
) -> None:  # fmt: skip
    """Libraries into `outer`, with who imports each; the project's own modules into `inner`."""
    todo, seen = [(entry, "", f"of {worker}", True)], set[str]()
    while todo and len(seen) < _MOST_MODULES:
        name, importer, why, sure = todo.pop(0)
        source = project.find(name)
        if source is None:
            if sure and not project.is_local(name) and _is_library(name):
                found = outer.setdefault(name, [])
                if (importer, why) not in found:
                    found.append((importer, why))
            continue
        if name in seen:
            continue
        seen.add(name)
        if not name.endswith("__main__"):
            inner.setdefault(name, why)
        where = project.label(source.file)
        todo += [
            (each, name, f"{where}:{line}", is_module) for each, line, is_module in source.imports
        ]


def _hazards(module: str, project: Project, seen: set[str]) -> str:
    """The first thing that importing it would do and should not; "" for none."""
    if module in seen:
        return ""
    seen.add(module)
    source = project.find(module)
    if source is None:
        return ""
    if source.hazards:
        return f"{project.label(source.file)}: {source.hazards[0]} when it is imported"
    for name, _, _ in source.imports:
        if found := _hazards(name, project, seen):
            return found
    return ""


def _is_library(name: str) -> bool:
    """It is installed, and not of the standard library; no code of it runs for that."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "__future__":
        return False
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False
