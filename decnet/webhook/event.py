"""An event as a receiver gets it: its id, its body, its signature. Pure.

The id follows from what happened, not from when it was sent: a receiver that remembers ids can
drop the repeat that a kill between "delivered" and "noted" makes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decnet.collect.text import cut

VERSION = 1
USER_AGENT = "decnet-webhook/1.0"
BODY_MOST = 64 << 10
"""Bytes of a body; a longer payload is cut."""
TEXT_MOST = 1024
ITEMS_MOST = 64
DEPTH_MOST = 6
_NAMESPACE = uuid.UUID("6a1d3c1e-5f0b-5b8e-9c55-2f8f2b7f9d10")


@dataclass(frozen=True)
class Event:
    """What is told. `id` is 32 hex digits; `ts` seconds since the epoch."""

    id: str
    topic: str
    type: str
    ts: float
    payload: dict[str, Any]

    @classmethod
    def make(
        cls, topic: str, key: str, ts: float, payload: Mapping[str, Any], type: str = ""
    ) -> Event:
        """An event whose id follows from topic and key alone."""
        made = uuid.uuid5(_NAMESPACE, f"{topic}|{key}").hex
        return cls(made, topic, type or topic.rpartition(".")[2], ts, bounded(payload))


def body(event: Event) -> bytes:
    """The bytes that are sent and signed: JSON with sorted keys, ASCII, no spaces."""
    plain = {
        "v": VERSION,
        "id": event.id,
        "ts": event.ts,
        "topic": event.topic,
        "type": event.type,
        "payload": event.payload,
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str).encode()


def sign(secret: str, content: bytes) -> str:
    """The value of X-DECNET-Signature."""
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def headers(event: Event, secret: str, content: bytes) -> dict[str, str]:
    """What goes with a body. Id, topic and time repeat what is in the signed body."""
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-DECNET-Signature": sign(secret, content),
        "X-DECNET-Event-Id": event.id,
        "X-DECNET-Event-Topic": event.topic,
        "X-DECNET-Timestamp": json.dumps(event.ts),
    }


def bounded(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload, cut so that the body stays below `BODY_MOST`."""
    if len(json.dumps(dict(payload), default=str)) <= BODY_MOST - 2048:
        return dict(payload)
    for texts, items in ((TEXT_MOST, ITEMS_MOST), (256, 16), (64, 4)):
        small: dict[str, Any] = _shrink(payload, texts, items, DEPTH_MOST)
        small["truncated"] = True
        if len(json.dumps(small, default=str)) <= BODY_MOST - 2048:
            return small
    return {"truncated": True}


def _shrink(value: Any, texts: int, items: int, depth: int) -> Any:
    if isinstance(value, str):
        return cut(value, texts)[0]
    if isinstance(value, Mapping) and depth:
        return {
            cut(str(name), texts)[0]: _shrink(item, texts, items, depth - 1)
            for name, item in list(value.items())[:items]
        }
    if isinstance(value, list | tuple) and depth:
        return [_shrink(item, texts, items, depth - 1) for item in value[:items]]
    return value if isinstance(value, int | float | bool | None) else cut(str(value), texts)[0]
