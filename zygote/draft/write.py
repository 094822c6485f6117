"""A draft as the text of a fleet file, checked as any other."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zygote.draft.model import Draft, Worker
from zygote.errors import ZygoteError
from zygote.fleet.load import check_text
from zygote.fleet.locate import locate

_WIDTH = 98
_FIRST = ("run", "args", "env", "cwd")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def settle(draft: Draft, path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The file's text, for `path`; what the check refuses is turned into a comment, and named.

    Raises:
        ZygoteError: it is refused for a reason that no worker and no preload is the cause of.
    """
    for _ in range(len(draft.workers) + len(draft.preload) + 2):
        text = as_text(draft)
        _, errors = check_text(text, path, environ)
        if not errors:
            return text
        if not _turn_off(draft, text, errors[0]):
            raise errors[0]
    raise AssertionError("each round turns something off")


def _turn_off(draft: Draft, text: str, error: ZygoteError) -> bool:
    """Take out what an error is about; False if that is not a worker or a preload."""
    line = int(error.place.rpartition(":")[2] or 0)
    where: tuple[str | int, ...] = ()
    for place, spot in locate(text).items():
        if spot.line <= line and len(place) >= 2 and place[0] in ("worker", "zygote"):
            where = place if spot.line == line or len(place) == 2 else where
    why = error.message.partition(": ")[2] or error.message
    if where[:1] == ("worker",):
        name = str(where[1])
        stem, at, _ = name.partition("@")
        for worker in draft.workers:
            if worker.name in (name, stem + at) and not worker.off:
                worker.off = f"{why} ({error.hint})" if error.hint else why
                return True
    if where[:1] == ("zygote",) and where[2:3] == ("preload",) and len(where) > 3:
        module = list(draft.preload)[int(where[3])]
        draft.left_out[module] = why
        del draft.preload[module]
        return True
    if where[:1] == ("zygote",) and len(where) > 2 and where[2] in draft.zygote:
        key = str(where[2])
        draft.lose(draft.source, f"{key} = {value(draft.zygote.pop(key))}", why)
        return True
    return False


def as_text(draft: Draft) -> str:
    """The file as it stands."""
    parts = [*_comment(draft.said), "", "[fleet]", f"name = {value(draft.name)}", ""]
    parts += _floor(draft)
    for worker in draft.workers:
        parts += ["", *_worker(worker)]
    if draft.lost:
        parts += ["", *_comment([f"Not carried over from {draft.source}:"])]
        for lost in draft.lost:
            parts += _comment([f"- {lost.place}: {lost.what}: {lost.why}"], indent="  ")
    return "\n".join(parts) + "\n"


def _floor(draft: Draft) -> list[str]:
    parts = _comment([
        "The floor: imported once, shared by all workers. `zygotectl floor MODULE` tells what an "
        "import costs, `zygotectl audit MODULE` whether it may be shared.",
        *draft.zygote_said,
    ])  # fmt: skip
    parts.append("[zygote.floor]")
    for key, each in draft.zygote.items():
        parts.append(f"{key} = {value(each)}")
    if draft.preload:
        parts.append("preload = [")
        width = max(len(value(name)) for name in draft.preload) + 1
        for name, why in draft.preload.items():
            entry = f"    {value(name) + ',':{width}}"
            parts.append(f"{entry}  # {why}"[:_WIDTH] if why else entry.rstrip())
        parts.append("]")
    elif not draft.left_out:
        parts += _comment(['preload = ["app.models"]'])
    for name, why in draft.left_out.items():
        parts += _comment([f"Not preloaded: {name}: {why}"], indent="  ")
    return parts


def _worker(worker: Worker) -> list[str]:
    lines = [f"[worker.{_key(worker.name)}]"]
    keys = sorted(worker.keys, key=lambda key: _FIRST.index(key) if key in _FIRST else 9)
    lines += [f"{key} = {value(worker.keys[key])}" for key in keys]
    for instance in worker.instances:
        lines += ["", f'[worker."{worker.name}{instance}"]']
    said = _comment(worker.said)
    if not worker.off:
        return [*said, *lines]
    off = _comment([f"Not started as it is: {worker.off}"])
    return [*said, *off, *(f"# {line}".rstrip() for line in lines)]


def value(given: Any) -> str:
    """A value as TOML has it."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, str):
        return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(given, Mapping):
        inner = ", ".join(f"{_key(name)} = {value(each)}" for name, each in given.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(given, Iterable):
        return f"[{', '.join(value(each) for each in given)}]"
    return str(given)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else value(name)


def _comment(lines: Iterable[str], indent: str = "") -> list[str]:
    """Lines of a comment, wrapped; `indent` is for all lines of one but its first."""
    wrapped = []
    for line in lines:
        found = textwrap.wrap(
            "".join(c if c.isprintable() else "?" for c in line), _WIDTH - 2,
            subsequent_indent=indent, break_on_hyphens=False, break_long_words=False,
        )  # fmt: skip
        wrapped += [f"# {each}" for each in found] or ["#"]
    return wrapped
