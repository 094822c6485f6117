"""Files of sections and keys, with their lines: supervisord's, circus's, systemd's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_SECTION = re.compile(r"\[([^\]]+)\]\s*$")
_PAIR = re.compile(r"([^=:\s][^=:]*?)\s*[=:]\s*(.*)$", re.DOTALL)
_UNIT_PAIR = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(.*)$", re.DOTALL)


class Entry(NamedTuple):
    """`key = value`, where it stands."""

    key: str
    value: str
    line: int


@dataclass
class Section:
    """[name], with its entries in order; a key may come more than once."""

    name: str
    line: int
    entries: list[Entry] = field(default_factory=list)

    def get(self, key: str, otherwise: str = "") -> str:
        """The last value of a key."""
        return next((e.value for e in reversed(self.entries) if e.key == key), otherwise)


def sections(text: str) -> list[Section]:
    """As supervisord and circus read them: an indented line goes on with the value."""
    found: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\s;.*$", "", raw)
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if match := _SECTION.match(line):
            found.append(Section(match[1].strip(), number))
        elif line[0] in " \t" and found and found[-1].entries:
            last = found[-1].entries.pop()
            found[-1].entries.append(last._replace(value=f"{last.value}\n{stripped}".strip()))
        elif (match := _PAIR.match(line)) and found:
            found[-1].entries.append(Entry(match[1].strip().lower(), match[2].strip(), number))
    return found


def unit_sections(text: str) -> list[Section]:
    """As systemd reads them: a backslash at a line's end goes on, names keep their case."""
    found: list[Section] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        whole = line.strip()
        while whole.endswith("\\"):
            _, following = next(lines, (0, ""))
            if following.lstrip()[:1] in ("#", ";"):
                continue
            whole = f"{whole[:-1].rstrip()} {following.strip()}"
        if not whole or whole[0] in "#;":
            continue
        if match := _SECTION.match(whole):
            found.append(Section(match[1], number))
        elif (match := _UNIT_PAIR.match(whole)) and found:
            found[-1].entries.append(Entry(match[1], match[2].strip(), number))
    return found
