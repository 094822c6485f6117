"""Telling events once, although the prober may be killed between the database and the spool."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

READ_MOST = 8 << 20
"""Bytes of spool files that are looked through; there are far fewer."""


def as_pending(event: str, fields: dict[str, str], probe_id: str) -> dict[str, Any]:
    """An event that waits in the database until it is in the spool."""
    return {"event": event, "fields": {**fields, "probe_id": probe_id}}


def ids_of(pending: Iterable[dict[str, Any]]) -> set[str]:
    """The events' ids."""
    return {str(one["fields"]["probe_id"]) for one in pending}


def in_spool(path: Path, ids: set[str]) -> set[str]:
    """Those of the ids that are in whole lines of a spool file or of its older segments.

    Look here before looking into the database: a line moves from here to there.
    """
    found: set[str] = set()
    left = READ_MOST
    for file in sorted(path.parent.iterdir()):
        if file.name != path.name and not file.name.startswith(f"{path.name}."):
            continue
        try:
            data = file.read_bytes()[-left:]
        except OSError:
            continue
        whole = data[: data.rfind(b"\n") + 1]
        found |= {one for one in ids if f'probe_id="{one}"'.encode() in whole}
        left -= len(data)
        if left <= 0:
            break
    return found
