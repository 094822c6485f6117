"""What is said about one process's private memory, or a fleet's; and what changed between two
moments. Sizes are KiB."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zygote.errors import Exit, ZygoteError
from zygote.inspect import causes
from zygote.inspect.naming import NAMELESS, Names
from zygote.inspect.sides import Page, Share
from zygote.sys.pagemap import PAGE

VERSION = 1
_FRESH = (causes.FRESH, causes.STACK, causes.STATE, causes.UNKNOWN)
"""Causes that no change of the floor takes away."""
_FILLING = "zygote.bake.seal"
_OF_NOBODY = (NAMELESS, "memory")


class Key(NamedTuple):
    """What a row is about.

    Attributes:
        mapping: the part of the address space: `heap (Python)`, `libc.so.6`, …
    """

    cause: str
    type: str
    module: str
    name: str
    mapping: str


class Size(NamedTuple):
    """Bytes as KiB.

    Attributes:
        kib: its part of the pages on which it is.
        alone_kib: of pages on which nothing else is: what would be shared again without it.
    """

    kib: float
    alone_kib: float


@dataclass(slots=True)
class Found:
    """Sizes by object, and what each cause has for itself alone: that does not add up from rows,
    because two objects on one page may have changed for the same reason."""

    rows: dict[Key, Size] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)

    def causes(self) -> list[tuple[str, Size]]:
        """By cause, the largest first."""
        found = summed(self.rows, lambda key: key.cause)
        return [(cause, Size(size.kib, self.alone.get(cause, 0.0))) for cause, size in found]

    def add(self, other: Found) -> None:
        """Those of another process, too."""
        for key, size in other.rows.items():
            before = self.rows.get(key, Size(0.0, 0.0))
            self.rows[key] = Size(before.kib + size.kib, before.alone_kib + size.alone_kib)
        for cause, kib in other.alone.items():
            self.alone[cause] = self.alone.get(cause, 0.0) + kib


@dataclass(slots=True)
class Report:
    """Where the private memory of a process comes from.

    Attributes:
        subject: a worker's name, or `pid 812`.
        parent: what it was compared with, for people.
        notes: what is less precise than it could be, and why.
    """

    subject: str
    pid: int
    parent: str
    found: Found
    pagetables_kib: int = 0
    swapped_kib: int = 0
    rss_kib: int = 0
    at: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> dict[Key, Size]:
        """What was found, object by object."""
        return self.found.rows

    @property
    def private_kib(self) -> float:
        """All private pages."""
        return sum(size.kib for size in self.rows.values())

    @property
    def attributed_kib(self) -> float:
        """Those of which mapping, object and cause are known."""
        return sum(size.kib for key, size in self.rows.items() if is_attributed(key))

    def causes(self) -> list[tuple[str, Size]]:
        """By cause, the largest first."""
        return self.found.causes()

    def objects(self) -> list[tuple[Key, Size]]:
        """All rows, the largest first."""
        return sorted(self.rows.items(), key=lambda row: (-row[1].kib, row[0]))

    def as_dict(self, most: int | None = None) -> dict[str, Any]:
        """For --json and --save."""
        return {
            "version": VERSION,
            "subject": self.subject,
            "pid": self.pid,
            "at": self.at,
            "compared_with": self.parent,
            "private_kib": round(self.private_kib, 2),
            "attributed_kib": round(self.attributed_kib, 2),
            "rss_kib": self.rss_kib,
            "pagetables_kib": self.pagetables_kib,
            "swapped_kib": self.swapped_kib,
            "causes": [
                {"cause": cause, **_rounded(size), "meaning": causes.CAUSES[cause].meaning,
                 "remedy": causes.CAUSES[cause].remedy}
                for cause, size in self.causes()
            ],
            "mappings": [
                {"mapping": mapping, **_rounded(size)}
                for mapping, size in summed(self.rows, lambda key: key.mapping)
            ],
            "objects": [{**key._asdict(), **_rounded(size)} for key, size in self.objects()[:most]],
            "advice": [advice._asdict() for advice in advise(self.rows)],
            "notes": self.notes,
        }  # fmt: skip


class Advice(NamedTuple):
    """A change that would save memory.

    Attributes:
        kib: how much, at most.
        what: the objects.
        remedy: what to do.
    """

    kib: float
    cause: str
    what: str
    remedy: str


def build(pages: Iterable[Page], names: Names) -> Found:
    """Add up the shares of all pages."""
    total: dict[Key, list[float]] = defaultdict(lambda: [0.0, 0.0])
    alone: dict[str, float] = defaultdict(float)
    for page in pages:
        found: dict[Key, float] = defaultdict(float)
        for share in _suspected(page.shares, names):
            things = names.things(share)
            kib = share.size / len(things) / 1024
            for cause, thing in things:
                # Of code and what belongs to it the file is known.
                is_file = thing.type == "code" or thing.module.startswith("/")
                module = module_of(thing.module) if is_file else thing.module
                found[Key(cause, thing.type, module, thing.name, page.region.name)] += kib
        for key, kib in found.items():
            total[key][0] += kib
            total[key][1] += kib if len(found) == 1 else 0
        if len({key.cause for key in found}) == 1:
            alone[cause] += PAGE / 1024
    return Found({key: Size(*size) for key, size in total.items()}, dict(alone))


def _suspected(shares: list[Share], names: Names) -> list[Share]:
    """Shares without those that only lie where something was written and written back: what
    `seal` put into holes is nobody's, and so nobody's to touch."""

    def is_filling(share: Share) -> bool:
        return share.cause == causes.SAME and names.things(share)[0][1].module == _FILLING

    kept = [share for share in shares if not is_filling(share)]
    if not kept or len(kept) == len(shares):
        return shares
    return [share._replace(size=PAGE / len(kept)) for share in kept]


def summed(rows: Mapping[Key, Size], by: Any) -> list[tuple[Any, Size]]:
    """Rows added up by what a function gives for their key, the largest first."""
    total: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for key, size in rows.items():
        total[by(key)][0] += size.kib
        total[by(key)][1] += size.alone_kib
    return sorted(((key, Size(*size)) for key, size in total.items()), key=lambda row: -row[1].kib)


def is_attributed(key: Key) -> bool:
    """Mapping, object and cause are known."""
    return key.cause != causes.UNKNOWN and key.type not in _OF_NOBODY


def advise(rows: Mapping[Key, Size], most: int = 3) -> list[Advice]:
    """The changes that would save most: what a cause does to one package, or to one object."""

    def group(key: Key) -> tuple[str, str] | None:
        if key.cause in _FRESH:
            return None
        if key.cause == causes.WRITTEN and key.name:
            return key.cause, label(key)
        return key.cause, key.module.split(".")[0]

    found = [(key, size) for key, size in summed(rows, group) if key]
    return [
        Advice(round(size.kib, 1), cause, what, causes.CAUSES[cause].remedy)
        for (cause, what), size in found[:most]
    ]


def label(key: Key) -> str:
    """An object as people write it: `keys of dict shop.prices.CACHE`."""
    where = ".".join(part for part in (key.module, key.name) if part)
    return f"{key.type} {where}".strip()


def changes(before: Mapping[Key, Size], after: Mapping[Key, Size]) -> dict[Key, Size]:
    """What `after` has more than `before`, negative where it has less."""
    nothing = Size(0.0, 0.0)
    found = {}
    for key in {**before, **after}:
        one, two = before.get(key, nothing), after.get(key, nothing)
        if abs(two.kib - one.kib) >= 0.01:
            found[key] = Size(two.kib - one.kib, two.alone_kib - one.alone_kib)
    return found


def from_dict(saved: Any, file: str) -> Report:
    """Read what --save wrote.

    Raises:
        ZygoteError: code not-a-snapshot.
    """
    try:
        if saved["version"] != VERSION:
            raise ValueError(f"version {saved['version']}, we read {VERSION}")
        rows = {
            Key(*(row[name] for name in Key._fields)): Size(row["kib"], row["alone_kib"])
            for row in saved["objects"]
        }
        alone = {row["cause"]: row["alone_kib"] for row in saved["causes"]}
        return Report(
            saved["subject"], saved["pid"], saved["compared_with"], Found(rows, alone),
            saved["pagetables_kib"], saved["swapped_kib"], saved["rss_kib"], saved["at"],
            saved["notes"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ZygoteError(
            f"{file} is no snapshot: {type(error).__name__}: {error}",
            code="not-a-snapshot",
            hint="make one with --save FILE",
            exit_code=Exit.USAGE,
        ) from None


@functools.cache
def module_of(file: str) -> str:
    """The module of a source file, by the folders around it that are packages."""
    if file.startswith("<frozen "):
        return file[8:-1]
    if not file.startswith("/"):
        return file
    path = Path(file)
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) or path.stem


def _rounded(size: Size) -> dict[str, float]:
    return {"kib": round(size.kib, 2), "alone_kib": round(size.alone_kib, 2)}
