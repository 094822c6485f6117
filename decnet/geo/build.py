"""Compile the table from the files in the data folder: `decnetctl geo build`."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from decnet.geo.sources import Read, files_in, read_file, read_reserved
from decnet.geo.table import Sources, Table, compile_table
from decnet.geo.where import GeoSettings
from zygote.errors import ZygoteError


@dataclass
class Built:
    """What was compiled."""

    file: Path
    bytes: int
    seconds: float
    counts: dict[str, int]
    read: list[Read] = field(default_factory=list)


def build(settings: GeoSettings) -> Built:
    """Read all source files and put the new table in place of the old one, at once.

    Raises:
        ZygoteError: there are no files, one is damaged, or the table cannot be written; the old
            table stays.
    """
    started = time.monotonic()
    folders = dict.fromkeys((settings.root, settings.asn_root))
    files = [file for folder in folders for file in files_in(folder)]
    if not files:
        raise ZygoteError(
            f"nothing to compile in {settings.root}",
            code="no-geo-files",
            hint="put files there: delegated-* of the registries, *.tsv of announced networks, "
            "or an .mmdb; or set DECNET_GEOIP_ROOT",
        )
    sources = Sources()
    read = [_read(file, sources) for file in files]
    read_reserved(sources)
    data = compile_table(sources, time.time())
    counts = Table(data).counts()
    _replace(settings.file, data)
    return Built(settings.file, len(data), time.monotonic() - started, counts, read)


def _read(file: Path, sources: Sources) -> Read:
    try:
        read = read_file(file, sources)
    except (OSError, ValueError) as error:
        raise ZygoteError(f"cannot read {file}: {error}", code="bad-geo-file") from error
    if read.skipped > read.ranges:
        raise ZygoteError(
            f"{file}: {read.skipped} lines make no sense, {read.ranges} do",
            code="bad-geo-file",
            hint=f"such as {read.examples[0]!r}; is it of the kind that its name says?",
        )
    return read


def _replace(file: Path, data: bytes) -> None:
    """Workers have the old file mapped: it is never written to, a new one takes its name."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            Path(draft).replace(file)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as error:
        raise ZygoteError(
            f"cannot write {file}: {error.strerror}",
            code="geo-not-written",
            hint="set DECNET_GEOIP_ROOT to a folder that this user may write to",
        ) from error
