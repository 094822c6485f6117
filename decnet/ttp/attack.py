"""ATT&CK Enterprise as a small table: ids, names, tactics. Shipped, so no download is needed.

`attack.json` was cut down from MITRE's own data of the release that it names; the licence is in
the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

SITE = "https://attack.mitre.org/techniques/"


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique or sub-technique; `stix` is the UUID of MITRE's own attack-pattern object."""

    id: str
    name: str
    tactics: tuple[str, ...]
    stix: str

    @property
    def url(self) -> str:
        """Its page."""
        return SITE + self.id.replace(".", "/")


@dataclass(frozen=True, slots=True)
class Tactic:
    """A tactic: "TA0006", "Credential Access", "credential-access"."""

    id: str
    name: str
    short: str


@dataclass(frozen=True, slots=True)
class Attack:
    """The table."""

    release: str
    tactics: dict[str, Tactic]
    techniques: dict[str, Technique]

    @classmethod
    def load(cls) -> Attack:
        """From the package's file."""
        text = resources.files("decnet.ttp").joinpath("attack.json").read_text("utf-8")
        raw = json.loads(text)
        tactics = {id: Tactic(id, name, short) for id, (name, short) in raw["tactics"].items()}
        # Equal tuples of tactics are one object: most techniques share a few.
        seen: dict[str, tuple[str, ...]] = {}
        techniques = {
            id: Technique(id, name, seen.setdefault(words, tuple(words.split())), stix)
            for id, (name, words, stix) in raw["techniques"].items()
        }
        return cls(raw["release"], tactics, techniques)

    def name(self, technique: str) -> str:
        """ "Brute Force: Password Guessing" for a sub-technique; the id where it is unknown."""
        found = self.techniques.get(technique)
        if found is None:
            return technique
        parent = self.techniques.get(technique.partition(".")[0])
        return f"{parent.name}: {found.name}" if parent and parent is not found else found.name

    def url(self, technique: str) -> str:
        """The page of a technique, known or not."""
        return SITE + technique.replace(".", "/")
