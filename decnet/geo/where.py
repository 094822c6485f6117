"""The table in use: baked into the zygote where it can be, mapped by the worker where it is newer.

`load_shared` is called in a zygote before it freezes; every worker forked from it then has the
table for nothing. A `Geo` looks at the file now and then, and maps a table that was built since:
its pages are the page cache's, so even then they are nobody's private memory.
"""

from __future__ import annotations

import logging
import mmap
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decnet.geo.sources import read_reserved
from decnet.geo.table import BadTable, Place, Sources, Table, compile_table
from decnet.settings import Reader, _default_state_dir

log = logging.getLogger("decnet.geo")

FILE = "geo.table"
TABLE_MOST = 1 << 30
LOOK_SECONDS = 60.0
"""How often a worker looks whether there is a newer table."""


@dataclass(frozen=True)
class GeoSettings:
    """Where the data lies. DECNET_GEOIP_ENABLED, DECNET_GEOIP_ROOT, DECNET_ASN_ROOT."""

    root: Path
    asn_root: Path
    enabled: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> GeoSettings:
        """Read the environment.

        Raises:
            SettingsError: a switch is neither true nor false.
        """
        read = Reader(os.environ if env is None else env)
        state = read.path("STATE_DIR", _default_state_dir(read.env))
        root = read.path("GEOIP_ROOT", state / "geoip")
        return cls(root, read.path("ASN_ROOT", root), read.switch("GEOIP_ENABLED", True))

    @property
    def file(self) -> Path:
        """The compiled table."""
        return self.root / FILE


Stamp = tuple[str, int, int, int, int]
"""Which file a table was read from: path, device, inode, size, time of change in ns."""


@dataclass(frozen=True)
class Loaded:
    """A table, and the file that it came from; None: the ranges in the package."""

    table: Table
    stamp: Stamp | None


_shared: Loaded | None = None


def load_shared(settings: GeoSettings | None = None) -> Table:
    """Read the table into this process's memory, for all that are forked from it.

    A damaged file is said in the log, and the package's reserved ranges are used.
    """
    global _shared
    settings = settings or GeoSettings.from_env()
    stamp = _stamp(settings.file) if settings.enabled else None
    loaded = None
    if stamp is not None:
        try:
            # Bytes and no mmap: an mmap keeps a file open, which a zygote must not.
            loaded = Loaded(Table(settings.file.read_bytes()), stamp)
        except (OSError, BadTable) as error:
            log.warning("cannot use %s: %s", settings.file, error)
    _shared = loaded or Loaded(reserved_only(), None)
    return _shared.table


def reserved_only() -> Table:
    """The table that knows nothing but the special ranges."""
    sources = Sources()
    read_reserved(sources)
    return Table(compile_table(sources, 0.0))


class Geo:
    """A worker's look-ups. `refresh` may be called at any rate."""

    def __init__(self, settings: GeoSettings) -> None:
        self._settings = settings
        self._loaded = _shared
        self._looked = float("-inf")
        self.trouble = ""
        """Why the newest table is not in use; "" where it is."""

    def refresh(self, *, now: bool = False) -> bool:
        """Take up a newer table; looks at the file once in `LOOK_SECONDS`.

        Returns:
            Whether another table is in use now.
        """
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        before = self._loaded
        stamp = _stamp(self._settings.file) if self._settings.enabled else None
        if before is None or stamp != before.stamp:
            self._loaded = self._load(stamp) or before
        return self._loaded is not before

    def find(self, address: str) -> Place:
        """What is known of an address."""
        if self._loaded is None:
            self.refresh(now=True)
        assert self._loaded is not None
        return self._loaded.table.find(address)

    @property
    def made(self) -> float:
        """When the table in use was compiled, epoch seconds; 0 for the package's own ranges."""
        return self._loaded.table.made if self._loaded is not None else 0.0

    @property
    def is_shared(self) -> bool:
        """Whether the table in use came with the fork."""
        return self._loaded is not None and self._loaded is _shared

    def _load(self, stamp: Stamp | None) -> Loaded | None:
        if _shared is not None and _shared.stamp == stamp:
            self.trouble = ""
            return _shared
        if stamp is not None:
            try:
                loaded = Loaded(map_table(self._settings.file), stamp)
                self.trouble = ""
                return loaded
            except (OSError, BadTable) as error:
                if self.trouble != str(error):
                    log.warning("cannot use %s: %s", self._settings.file, error)
                self.trouble = str(error)
                if self._loaded is not None:
                    return None
        return Loaded(reserved_only(), None)


def map_table(file: Path) -> Table:
    """The table in a file, mapped. The file is replaced by a new one, never written to.

    Raises:
        OSError: it cannot be read.
        BadTable: it is none.
    """
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if not 0 < size <= TABLE_MOST:
            raise BadTable(f"{size} bytes are no table")
        return Table(memoryview(mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ)))


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
