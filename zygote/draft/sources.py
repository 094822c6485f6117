"""Which reader reads a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from zygote.draft import circus, gunicorn, procfile, supervisord, unitfile
from zygote.draft.imports import Project, propose
from zygote.draft.model import Draft
from zygote.draft.taker import Taker, read_text
from zygote.errors import Exit, ZygoteError

Kind = Literal["supervisord", "procfile", "circus", "gunicorn", "systemd"]
_READERS: dict[str, Callable[[Path, Path], Taker]] = {
    "supervisord": supervisord.read, "procfile": procfile.read, "circus": circus.read,
    "gunicorn": gunicorn.read, "systemd": unitfile.read,
}  # fmt: skip


def take(path: Path, home: Path, kind: Kind | None = None) -> Draft:
    """Read another manager's file as a draft for the folder `home`.

    Args:
        kind: whose file it is; None: by its name and content.
    Raises:
        ZygoteError: code unknown-format, cannot-read, nothing-found.
    """
    taker = _READERS[kind or kind_of(path)](path, home)
    draft = taker.draft
    if not draft.workers:
        raise ZygoteError(
            f"{path.name} describes no program",
            code="nothing-found",
            hint="is it the right file? --format says how it is to be read",
        )
    taken: set[str] = set()
    for worker in draft.workers:
        while worker.name in taken:
            worker.name = f"{worker.name}2"
        taken.add(worker.name)
    folders = [home, *(w.folder for w in draft.workers if w.folder and w.folder != home)]
    roots = list(dict.fromkeys(folders))
    if len(roots) > 1:
        draft.zygote["path"] = [str(each) for each in roots[1:] if each.is_dir()]
        if not draft.zygote["path"]:
            del draft.zygote["path"]
    programs = [str(w.keys.get("run")) for w in draft.workers if ":" not in str(w.keys.get("run"))]
    propose(draft, Project(roots), skip=programs)
    return draft


def kind_of(path: Path) -> Kind:
    """By its name, else by what stands in it.

    Raises:
        ZygoteError: code unknown-format, or cannot-read.
    """
    name = path.name.lower()
    if name.endswith(".service"):
        return "systemd"
    if name.startswith("procfile") or name.endswith(".procfile"):
        return "procfile"
    if name.endswith(".py"):
        return "gunicorn"
    text = read_text(path)
    if "[program:" in text or "[supervisord]" in text or "[include]" in text:
        return "supervisord"
    if "[watcher:" in text or "[circus]" in text:
        return "circus"
    if "[Service]" in text:
        return "systemd"
    raise ZygoteError(
        f"{path.name} is of no kind that is known here",
        code="unknown-format",
        hint=f"--format says whose it is: {', '.join(get_args(Kind))}",
        exit_code=Exit.USAGE,
    )


def summary(draft: Draft) -> list[str]:
    """What came of it, in lines for a person."""
    lines = []
    for worker in draft.workers:
        run = " ".join([str(worker.keys.get("run")), *map(str, worker.keys.get("args", []))])
        many = f" × {len(worker.instances)}" if worker.instances else ""
        lines.append(
            f"worker {worker.name}{many}: {run}"
            + (f" (not carried over: {worker.off})" if worker.off else "")
        )
    if draft.preload:
        lines.append(f"preload, guessed: {', '.join(draft.preload)}")
    lines += [f"not preloaded: {name}: {why}" for name, why in draft.left_out.items()]
    return lines
