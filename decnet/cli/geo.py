"""`decnetctl geo`: compile the table of countries and systems, and look addresses up in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Literal

from decnet.cli.rest import printable, say
from decnet.geo.build import build
from decnet.geo.table import Place
from decnet.geo.where import GeoSettings, load_shared
from zygote.cli.options import Json


def geo(action: Literal["build", "show"], *addresses: str, as_json: Json = False) -> None:
    """Compile the table from the files in DECNET_GEOIP_ROOT, or show what it knows.

    Running workers take up a new table within a minute; a zygote bakes it at its next reload.

    Args:
        action: build, or show.
        addresses: what to look up; none: tell of the table itself.
    """
    settings = GeoSettings.from_env()
    if action == "build":
        _build(settings, as_json)
    elif addresses:
        _show(settings, addresses, as_json)
    else:
        _tell(settings, as_json)


def _build(settings: GeoSettings, as_json: bool) -> None:
    built = build(settings)
    if as_json:
        say(json.dumps(dataclasses.asdict(built), default=str))
        return
    for read in built.read:
        skipped = f", {read.skipped} lines skipped" if read.skipped else ""
        say(f"{read.file}: {read.ranges} ranges{skipped}")
        for line in read.examples:
            say(f"  skipped: {printable(line)}")
    say(f"{built.file}: {built.bytes >> 10} KiB in {built.seconds:.1f} s")


def _show(settings: GeoSettings, addresses: tuple[str, ...], as_json: bool) -> None:
    table = load_shared(settings)
    for address in addresses:
        place = table.find(address)
        if as_json:
            say(json.dumps({"address": address, **dataclasses.asdict(place)}))
        else:
            say(f"{printable(address)}  {_words(place)}")


def _words(place: Place) -> str:
    if place.reserved:
        return f"reserved: {place.reserved}"
    system = f"AS{place.asn} {printable(place.as_name)} {place.prefix}" if place.asn else ""
    return "  ".join(word for word in (place.country or "", system) if word) or "unknown"


def _tell(settings: GeoSettings, as_json: bool) -> None:
    table = load_shared(settings)
    made = dt.datetime.fromtimestamp(table.made, dt.UTC).isoformat() if table.made else None
    told = {"file": str(settings.file) if made else None, "made": made, "bytes": table.bytes}
    if as_json:
        say(json.dumps({**told, **table.counts()}))
        return
    say(f"{settings.file}, made {made}" if made else "no table yet; decnetctl geo build makes one")
    say("  ".join(f"{name} {count}" for name, count in table.counts().items()))
