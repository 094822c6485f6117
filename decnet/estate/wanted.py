"""Which deckies an operator wants: from a file (TOML, or the INI of DECNET), or from options. Pure.

    mutate_interval = 30            # minutes between changes of services; 0: never

    [decky-01]                      # number 1
    services = ["ssh", "http"]

    [printer]                       # any name: the lowest numbers that are free
    archetype = "printer"           # its services, unless `services` or `randomize_services`
    amount = 3

An INI has the same sections and keys, lists separated by commas, and what holds for all in
`[general]`. Keys that belong to containers and networks have no meaning here: they are named in
`notes` and left out.
"""

from __future__ import annotations

import configparser
import random
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from decnet.decoys.catalogue import ARCHETYPES, DECKIES_MOST, KINDS, UnknownDecoy, decky_number
from decnet.decoys.catalogue import decky_name as name_of
from decnet.estate.plan import choose_services
from zygote.errors import ZygoteError

GENERAL = "general"
KEYS = ("services", "archetype", "amount", "mutate_interval", "randomize_services")
ELSEWHERE = frozenset(
    (
        *("net", "subnet", "gw", "interface", "log_target", "mode", "ipvlan", "distro", "distros"),
        *("ip", "mac", "hostname", "nmap_os", "ports", "binary", "exec"),
    )
)
"""Of deckies that are containers with addresses of their own; ours are processes on ports."""


@dataclass(frozen=True)
class Wanted:
    """One decky as it is to be; `interval` in minutes, None: as the workers' setting says."""

    number: int
    name: str
    archetype: str
    services: tuple[str, ...]
    interval: int | None = None


@dataclass
class Deployment:
    """All of them, by number; what was left out of the file, and what is wrong with it."""

    deckies: list[Wanted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[ZygoteError] = field(default_factory=list)


def read(text: str, file: str, first: str, seed: int) -> Deployment:
    """The deployment in a file.

    Args:
        file: its name: .toml is TOML, all else INI.
        first: the name of decky 1.
        seed: of what is chosen at random.
    """
    made = Deployment()
    try:
        tables = tomllib.loads(text) if file.endswith(".toml") else _ini(text)
    except (tomllib.TOMLDecodeError, configparser.Error) as error:
        kind = "TOML" if file.endswith(".toml") else "INI"
        said = str(error).replace("\n", " ")
        made.faults.append(_fault(f"no {kind}: {said}", "", file))
        return made
    loose = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    general = {**loose, **tables.pop(GENERAL, {})}
    reader = _Reader(text, file, made)
    interval = reader.interval("", general)
    for key in general:
        reader.check_key(GENERAL, key, ("mutate_interval",))
    sections = {name: table for name, table in tables.items() if name not in loose}
    numbers = _numbers(reader, sections, first)
    for name, table in sections.items():
        if name in numbers:
            reader.decky(
                name, table, numbers[name], interval, first, random.Random(f"{seed}{name}")
            )
    made.deckies.sort(key=lambda decky: decky.number)
    return made


def count(
    deckies: int,
    first: str,
    *,
    services: tuple[str, ...],
    archetype: str,
    randomize: bool,
    interval: int | None,
    seed: int,
) -> Deployment:
    """So many deckies of one sort, as the options say."""
    table: dict[str, Any] = {"amount": deckies, "randomize_services": randomize}
    if services:
        table["services"] = list(services)
    if archetype:
        table["archetype"] = archetype
    made = Deployment()
    reader = _Reader("", "", made)
    numbers = _numbers(reader, {"deckies": table}, first)
    if numbers:
        chance = random.Random(seed)
        reader.decky("deckies", table, numbers["deckies"], interval, first, chance)
    return made


def _ini(text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def _numbers(reader: _Reader, sections: Mapping[str, Any], first: str) -> dict[str, list[int]]:
    """Section -> the numbers of its deckies: named ones get theirs, others the lowest free."""
    taken: set[int] = set()
    found: dict[str, list[int]] = {}
    for name in sections:
        try:
            found[name] = [decky_number(name, first)]
            taken.add(found[name][0])
        except UnknownDecoy:
            continue
    for name, table in sections.items():
        owner, dot, _ = name.partition(".")
        if (dot and owner in sections) or name.startswith("custom-"):
            reader.made.notes.append(f"[{name}] is left out: it is for containers")
            continue
        amount = reader.amount(name, table)
        fresh = (number for number in range(1, DECKIES_MOST + 1) if number not in taken)
        mine = found.setdefault(name, [])
        mine += [number for number, _ in zip(fresh, range(amount - len(mine)), strict=False)]
        taken.update(mine)
        if len(mine) < amount:
            reader.wrong(name, "amount", f"there can be {DECKIES_MOST} deckies at most", "lower it")
            found.pop(name)
    return found


class _Reader:
    """Reads sections; faults name file, line, section, key and value."""

    def __init__(self, text: str, file: str, made: Deployment) -> None:
        self._lines, self._file, self.made = text.splitlines(), file, made

    def decky(
        self,
        name: str,
        table: Mapping[str, Any],
        numbers: list[int],
        interval: int | None,
        first: str,
        chance: random.Random,
    ) -> None:
        """One section: one or more deckies alike."""
        for key, value in table.items():
            if isinstance(value, dict):
                self.made.notes.append(f"[{name}.{key}] is left out: it is for containers")
            else:
                self.check_key(name, key, KEYS)
        archetype = str(table.get("archetype", "")).strip()
        if archetype and archetype not in ARCHETYPES:
            self.wrong(
                name, "archetype", f"no archetype {archetype!r}", _near(archetype, ARCHETYPES)
            )
            return
        services = self._services(name, table)
        own = self.interval(name, table)
        if services is None:
            return
        if not services and not archetype:
            self.wrong(name, "", "says neither services nor an archetype",
                       'add services = ["ssh"], or archetype = "linux-server"')  # fmt: skip
            return
        is_random = str(table.get("randomize_services", "")).lower() in ("true", "yes", "1", "on")
        for number in numbers:
            shown = services or ARCHETYPES[archetype].services
            if is_random and not services:
                shown = tuple(choose_services(archetype, (), chance))
            decky = name_of(number, first)
            minutes = own if own is not None else interval
            self.made.deckies.append(
                Wanted(number, decky, archetype, tuple(sorted(shown)), minutes)
            )

    def amount(self, name: str, table: Mapping[str, Any]) -> int:
        """How many deckies a section is."""
        number = _whole(table.get("amount", 1))
        if number is None or number < 1:
            self.wrong(
                name, "amount", f"{table['amount']!r} is no number of deckies", "write 1 or more"
            )
            return 1
        return number

    def interval(self, name: str, table: Mapping[str, Any]) -> int | None:
        """Minutes between mutations; None where it is not said."""
        if "mutate_interval" not in table:
            return None
        number = _whole(table["mutate_interval"])
        if number is None or not 0 <= number <= 525_600:
            self.wrong(name or GENERAL, "mutate_interval",
                       f"{table['mutate_interval']!r} is no number of minutes",
                       "write minutes, 0 for never")  # fmt: skip
            return None
        return number

    def check_key(self, name: str, key: str, known: tuple[str, ...]) -> None:
        """A key that means nothing here is a note, an unknown one a fault."""
        if key in ELSEWHERE:
            self.made.notes.append(f"[{name}] {key} is left out: decoys are processes on ports")
        elif key not in known:
            self.wrong(name, key, f"no such key: {key}", _near(key, known))

    def wrong(self, section: str, key: str, what: str, remedy: str) -> None:
        """Note a fault."""
        where = f"[{section}] {key}: " if key and key not in what else f"[{section}] "
        if not self._file:
            where = ""
        place = f"{self._file}:{self._line(section, key)}" if self._file else ""
        self.made.faults.append(_fault(where + what, remedy, place))

    def _services(self, name: str, table: Mapping[str, Any]) -> tuple[str, ...] | None:
        given = table.get("services", ())
        words = re.split(r"[\s,]+", given.strip()) if isinstance(given, str) else given
        if not isinstance(words, list | tuple):
            self.wrong(name, "services", f"{given!r} is no list", 'services = ["ssh", "http"]')
            return None
        services = tuple(dict.fromkeys(str(word) for word in words if word))
        unknown = [word for word in services if word not in KINDS]
        if unknown:
            self.wrong(name, "services", f"no service {', '.join(map(repr, unknown))}",
                       _near(unknown[0], KINDS))  # fmt: skip
            return None
        return services

    def _line(self, section: str, key: str) -> int:
        """Of the key in its section, else of the section's head, else the first."""
        head, inside = 0 if section == GENERAL else None, section == GENERAL
        for number, line in enumerate(self._lines, 1):
            if match := re.match(r"\s*\[\s*\"?([^\]\"]+)\"?\s*\]", line):
                inside = match[1].strip() == section
                head = number if inside else head
            elif inside and key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*[=:]", line):
                return number
        return head or 1


def _whole(value: Any) -> int | None:
    text = str(value).strip()
    return (
        int(text) if not isinstance(value, bool) and text.isdecimal() and len(text) < 10 else None
    )


def _near(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


def _fault(message: str, hint: str, place: str) -> ZygoteError:
    return ZygoteError(message, code="deployment", hint=hint, place=place)
