"""A fleet file in the making: what goes into it, why, and what could not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zygote.fleet.values import NAME_MAX
from zygote.fleet.where import FLEET_NAME


class Lost(NamedTuple):
    """Something that was not carried over.

    Attributes:
        place: FILE:LINE, or FILE.
        what: the key with its value, as it was written.
        why: and what to do instead; one clause.
    """

    place: str
    what: str
    why: str


@dataclass
class Worker:
    """One [worker.NAME] to be.

    Attributes:
        name: with an @ at its end a template.
        keys: of the fleet file, `run` among them.
        said: lines for the comment above it.
        instances: of a template, to be listed.
        off: why it cannot be started as it is: it is written as a comment. "": it can.
        entry: modules that its program consists of, for the guess of what to preload.
        folder: where its program starts, or None: the fleet file's.
    """

    name: str
    keys: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    off: str = ""
    entry: list[str] = field(default_factory=list)
    folder: Path | None = None


@dataclass
class Draft:
    """A whole file.

    Attributes:
        source: what it was made from, in words.
        zygote: keys of [zygote.floor], but `preload`.
        preload: module -> why it is there.
        left_out: module -> why it is not.
    """

    name: str
    source: str
    said: list[str] = field(default_factory=list)
    zygote: dict[str, Any] = field(default_factory=dict)
    zygote_said: list[str] = field(default_factory=list)
    preload: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    def lose(self, place: str, what: str, why: str) -> None:
        """Note what is not carried over."""
        self.lost.append(Lost(place, what, why))


def fleet_name(text: str) -> str:
    """The nearest name that a fleet may have."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-")
    return plain if FLEET_NAME.fullmatch(plain) else "fleet"


def worker_name(text: str) -> str:
    """The nearest name that a worker may have."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[: NAME_MAX - 10]
    plain = plain.removeprefix("zygote.")
    return plain or "worker"


def literal(text: str) -> str:
    """A text in which nothing is to be filled in from the environment."""
    return text.replace("${", "$${")
