"""One finding of `decnetctl doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "missing"]
"""ok; works, but less than it could; does not start, or waits for it."""
ALL = "all"
"""Stands for every worker."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, for whom, and how it is."""

    level: Level
    worker: str
    what: str
    remedy: str = ""


def ok(worker: str, what: str) -> Finding:
    """All is well."""
    return Finding("ok", worker, what)


def note(worker: str, what: str, remedy: str = "") -> Finding:
    """It works, but less than it could."""
    return Finding("note", worker, what, remedy)


def missing(worker: str, what: str, remedy: str) -> Finding:
    """The worker does not start, or waits, until this is there."""
    return Finding("missing", worker, what, remedy)
