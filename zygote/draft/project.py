"""A draft from a look at a project's folder: its entry points, and what they import."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zygote.draft import findings
from zygote.draft.findings import Finding
from zygote.draft.imports import Project, propose
from zygote.draft.model import Draft, Worker, fleet_name, worker_name
from zygote.errors import Exit, ZygoteError

_SKIPPED = {"node_modules", "site-packages", "tests", "test", "docs", "build", "dist", "migrations",
            "benchmarks", "examples"}  # fmt: skip
_MOST_FILES = 5000
OTHERS = {
    "supervisord.conf": "supervisord", "supervisor.conf": "supervisord", "Procfile": "a Procfile",
    "circus.ini": "circus", "gunicorn.conf.py": "gunicorn",
}  # fmt: skip
"""Files of other managers, which `import` reads."""


def scan(folder: Path, command: str = "zygotectl") -> Draft:
    """Look at a project and guess its fleet.

    Args:
        folder: absolute.
        command: the program's name, for what the comments tell to type.
    Raises:
        ZygoteError: code no-project, there is no Python in it.
    """
    roots = [folder]
    if (folder / "src").is_dir() and not (folder / "src" / "__init__.py").exists():
        roots.append(folder / "src")
    meta = _pyproject(folder)
    draft = Draft(fleet_name(str(meta.get("name") or folder.name)), str(folder))
    if len(roots) > 1:
        draft.zygote["path"] = ["src"]
    project = Project(roots)
    files = list(_files(folder))
    if not files:
        raise ZygoteError(
            f"no Python files in {folder}",
            code="no-project",
            hint="go to your project's folder; or write the file by hand: "
            f"{command} help fleet-file",
            exit_code=Exit.FAILED,
        )
    found = list(_find(files, roots, meta))
    for finding in found:
        _add(draft, finding)
    skip = [worker.keys["run"] for worker in draft.workers if ":" not in str(worker.keys["run"])]
    propose(draft, project, skip=skip)
    _say(draft, found, folder, command, len(files))
    return draft


def _pyproject(folder: Path) -> dict[str, Any]:
    """[project] of pyproject.toml; {} where there is none that can be read."""
    try:
        data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    table = data.get("project")
    return table if isinstance(table, dict) else {}


def _files(folder: Path) -> Iterator[Path]:
    """The project's own sources, in order; environments, caches and tests are not."""
    count = 0
    for where, folders, files in os.walk(folder):
        here = Path(where)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith((".", "__")) and name not in _SKIPPED
            and not (here / name / "pyvenv.cfg").exists()
        )  # fmt: skip
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith("test_") and name != "conftest.py":
                count += 1
                if count > _MOST_FILES:
                    return
                yield here / name


def module_name(file: Path, roots: list[Path]) -> str:
    """The name that a file is imported by, or ""."""
    root = max((r for r in roots if file.is_relative_to(r)), key=lambda r: len(r.parts))
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else ""


def _find(files: list[Path], roots: list[Path], meta: dict[str, Any]) -> Iterator[Finding]:
    """All entry points; scripts of pyproject.toml first, each program once."""
    sources = {module_name(file, roots): file for file in files}
    covered: set[str] = set()
    scripts = meta.get("scripts")
    for name, target in scripts.items() if isinstance(scripts, dict) else ():
        if not isinstance(target, str):
            continue
        module, _, function = target.partition(":")
        file = sources.get(module)
        serves = bool(file and findings.serves(file))
        covered |= {module, module.removesuffix(".__main__")}
        why = f"pyproject.toml: [project.scripts] {name}"
        if not function or file is None:
            continue
        yield Finding("script", name, target.partition("[")[0].strip(), [], why, [module], serves)
    apps = []
    for file in files:
        label = str(file.relative_to(roots[0]))
        apps += list(findings.look(file, module_name(file, roots), label))
    yield from apps
    covered |= {module for finding in apps for module in finding.entry}
    for file in files:
        name = module_name(file, roots)
        if name in covered or name.removesuffix(".__main__") in covered:
            continue
        label = str(file.relative_to(roots[0]))
        if finding := findings.program(file, name, label):
            yield finding


def _add(draft: Draft, finding: Finding) -> None:
    """A worker for a finding."""
    taken = {worker.name for worker in draft.workers}
    base = worker_name(finding.name)
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    worker = Worker(name, {"run": finding.run}, [f"Guessed: {finding.why}."])
    if finding.args:
        worker.keys["args"] = finding.args
    if finding.env:
        worker.keys["env"] = finding.env
    worker.said += finding.said
    worker.entry = list(finding.entry)
    if not finding.serves:
        worker.keys["autostart"] = False
        worker.keys["restart"] = "no"
        worker.said.append(
            "It seems to end by itself, so the fleet does not start it; "
            f"`spawn {name}` does. If it serves, take these two lines away:"
        )
    if missing := finding.needs and importlib.util.find_spec(finding.needs) is None:
        worker.off = f"{finding.needs} is not installed" if missing else ""
    draft.workers.append(worker)


def _say(draft: Draft, found: list[Finding], folder: Path, command: str, count: int) -> None:
    """The head of the file."""
    draft.said += [
        f"Written by `{command} init` after a look at {count} Python files; nothing was imported "
        "or run. What it guessed is marked: correct it.",
        f"Then: {command} check, {command} up, {command} ps. Every key: {command} help fleet-file",
    ]
    others = [name for name in OTHERS if (folder / name).is_file()]
    others += [path.name for path in sorted(folder.glob("*.service"))]
    if others:
        draft.said.append(
            f"There is {', '.join(others)}: `{command} import {others[0]}` takes over what it says."
        )
    if not found:
        draft.said.append(
            "No entry point was found: no [project.scripts], no __main__.py, no FastAPI, Flask, "
            "Django or Celery application, no file with `if __name__ == ...`. Add one:"
        )
        example = Worker("web", {"run": "yourapp.web:main"})
        example.off = "an example"
        draft.workers.append(example)


def guesses(draft: Draft) -> list[str]:
    """What was guessed, in lines for a person."""
    lines = []
    for worker in draft.workers:
        run = " ".join([str(worker.keys["run"]), *map(str, worker.keys.get("args", []))])
        state = (
            f"not started: {worker.off}" if worker.off
            else "started on demand" if worker.keys.get("autostart") is False else "started"
        )  # fmt: skip
        why = re.sub(r"^Guessed: |\.$", "", worker.said[0]) if worker.said else ""
        lines.append(f"worker {worker.name}: {run} ({state}; {why})")
    if draft.preload:
        lines.append(f"preload: {', '.join(draft.preload)}")
    lines += [f"not preloaded: {name}: {why}" for name, why in draft.left_out.items()]
    return lines
