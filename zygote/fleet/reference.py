"""The lists of keys in the page on the fleet file, made from the schema.

`python -m zygote.fleet.reference` prints the page with them brought up to date; a test holds the
page in the package equal to that.
"""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from zygote.fleet.kinds import Kind
from zygote.fleet.model import Fleet, WorkerSpec, ZygoteSpec
from zygote.fleet.schema import FleetTable, Table, WorkerTable, ZygoteTable
from zygote.units import spell_bytes

PAGE = Path(__file__).parent.parent / "help" / "fleet-file.md"
SECTIONS: dict[str, tuple[type[Table], type[Any] | None]] = {
    "[fleet]": (FleetTable, Fleet),
    "[zygote.NAME]": (ZygoteTable, ZygoteSpec),
    "[worker.NAME] and [defaults]": (WorkerTable, WorkerSpec),
}
"""Headings whose sections are generated."""


def page(text: str) -> str:
    """The page's text with the generated sections renewed; the rest is as it was."""
    for heading, (table, spec) in SECTIONS.items():
        pattern = re.compile(rf"(?<=^## {re.escape(heading)}\n).*?(?=^## |\Z)", re.DOTALL | re.M)
        found = pattern.search(text)
        if not found:
            raise ValueError(f"the page has no heading '## {heading}'")
        start, end = found.span()
        text = text[:start] + "\n" + "\n".join(_entries(table, spec)) + "\n\n" + text[end:]
    return text.rstrip("\n") + "\n"


def _entries(table: type[Table], spec: type[Any] | None) -> list[str]:
    defaults = {each.name: each for each in fields(spec)} if spec else {}
    entries = []
    for name, field in table.model_fields.items():
        kind = next(each for each in field.metadata if isinstance(each, Kind))
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        default = str(extra["default"]) or _default(name, kind, defaults.get(name))
        facts = [kind.words, f"default: {default}" if default != "required" else "**required**"]
        if extra["systemd"]:
            facts.append(f"systemd: {extra['systemd']}=")
        example = extra["example"] or kind.example
        head = f"- `{name} = {example}` ({'; '.join(facts)}).  "
        body = textwrap.fill(
            str(field.description), 98, initial_indent="  ", subsequent_indent="  ",
            break_on_hyphens=False, break_long_words=False,
        )  # fmt: skip
        entries.append(f"{head}\n{body}")
    return entries


def _default(name: str, kind: Kind, field: Field[Any] | None) -> str:
    """The model's default as one would write it in the file."""
    value = field.default if field and field.default is not MISSING else None
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if name == "umask":
        return f'`"{value:04o}"`'
    if kind.words.startswith("time"):
        return f'`"{_time(value)}"`'
    if kind.words.startswith("size"):
        return f'`"{spell_bytes(value)}"`'
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 60:g}min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g}s"


if __name__ == "__main__":
    sys.stdout.write(page(PAGE.read_text(encoding="utf-8")))
