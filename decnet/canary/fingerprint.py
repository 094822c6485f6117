"""What a document's script told of the machine that opened it: read, judged, bounded. Pure.

The script sends base64url JSON in the query: whole as `d` or `o`, or in pieces as `s` (which
sending), `i` (which piece), `n` (of how many), `d`. It counts where nonce and mint are the
token's, and where it has the shape of a browser's answers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from decnet.collect.text import clean, cut

PAYLOAD_MOST = 8 << 10
"""Bytes of base64url, whole or together."""
PIECES_MOST = 16
SENDINGS_MOST = 64
SENDING_SECONDS = 60.0
RATE_MOST, RATE_SECONDS = 30, 60.0
KEPT_MOST = 4096
GROUPS = frozenset(
    {"nav", "screen", "tz", "hw", "canvas", "webgl", "audio", "fonts", "plugins", "net", "page"}
)
GROUPS_LEAST = 3
_DEPTH_MOST, _ITEMS_MOST, _TEXT_MOST = 3, 32, 256


class Rate:
    """At most so many a time from each key; keys seen longest ago are forgotten first."""

    def __init__(
        self,
        most: int = RATE_MOST,
        seconds: float = RATE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._counts: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def allows(self, slug: str, ip: str) -> bool:
        """Whether one more is allowed; counts it."""
        now = self._clock()
        began, count = self._counts.pop((slug, ip), (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        self._counts[slug, ip] = (began, count + 1)
        if len(self._counts) > KEPT_MOST:
            self._counts.popitem(last=False)
        return count < self._most


class Assembler:
    """Puts pieces together; few sendings at once, each for a short time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[tuple[str, str, str], tuple[float, dict[int, str]]] = OrderedDict()

    def take(self, slug: str, ip: str, query: str) -> str | None:
        """The whole payload (base64url) once it is there; None else."""
        try:
            given = dict(parse_qsl(query, max_num_fields=16))
        except ValueError:
            return None
        data = given.get("d") or given.get("o") or ""
        if not 0 < len(data) <= PAYLOAD_MOST:
            return None
        if "s" not in given:
            return data
        return self._piece((slug, ip, given["s"][:64]), given.get("i"), given.get("n"), data)

    def _piece(
        self, key: tuple[str, str, str], number: str | None, of: str | None, data: str
    ) -> str | None:
        index, count = _small(number), _small(of)
        if index is None or count is None or not 0 < count <= PIECES_MOST or index >= count:
            return None
        now = self._clock()
        began, pieces = self._open.pop(key, (now, {}))
        if now - began > SENDING_SECONDS:
            began, pieces = now, {}
        pieces[index] = data
        if sum(map(len, pieces.values())) > PAYLOAD_MOST:
            return None
        if all(at in pieces for at in range(count)):
            return "".join(pieces[at] for at in range(count))
        self._open[key] = (began, pieces)
        if len(self._open) > SENDINGS_MOST:
            self._open.popitem(last=False)
        return None


def decode(payload: str) -> dict[str, Any] | None:
    """The object in a payload; None where there is none."""
    try:
        raw = base64.b64decode(
            payload.rstrip("=") + "=" * (-len(payload.rstrip("=")) % 4), b"-_", validate=True
        )
        found = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def judge(found: dict[str, Any], nonce: str, mint: str) -> dict[str, Any] | None:
    """The known groups of a payload that is this token's and looks like a browser's, cut."""
    said = (str(found.get("nonce", "")), str(found.get("mint", "")))
    for text, right in zip(said, (nonce, mint), strict=True):
        if not hmac.compare_digest(text.encode("utf-8", "replace"), right.encode()):
            return None
    groups = {
        name: value for name, value in found.items() if name in GROUPS and value not in (None, "")
    }
    if len(groups) < GROUPS_LEAST:
        return None
    return {name: _cut(value, _DEPTH_MOST) for name, value in groups.items()}


def _small(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 4 else None


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return cut(clean(value), _TEXT_MOST)[0]
    if isinstance(value, dict) and depth:
        return {
            cut(clean(str(k)), 64)[0]: _cut(v, depth - 1)
            for k, v in list(value.items())[:_ITEMS_MOST]
        }
    if isinstance(value, list) and depth:
        return [_cut(item, depth - 1) for item in value[:_ITEMS_MOST]]
    return value if isinstance(value, int | float | bool | None) else "…"
