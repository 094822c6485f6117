"""SMTP's commands, and what is told of a mail. Pure and bounded."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from decnet.decoys.mime import headers_of, parts_of, words

ADDRESS_MOST = 320
ATTACHMENTS_TOLD = 10
LIST_MOST = 3500
"""Characters of the list of attachments: a field of 4096 that is cut would be no JSON."""
_PATH = re.compile(rb"(FROM|TO):[ \t]*<?([^<>\r\n]{0,512})>?[ \t]*([^\r\n]{0,256})", re.IGNORECASE)
_END = re.compile(rb"\n\.\r?\n")
_STUFFED = re.compile(rb"\n\.")
_LINK = re.compile(rb"https?://([A-Za-z0-9.-]{1,253})", re.IGNORECASE)
LINKS_SEARCHED = 256 << 10
LINKS_TOLD = 20


@dataclass(frozen=True)
class Credential:
    """A log-in by AUTH; `secret` is the exact bytes."""

    user: bytes
    secret: bytes


class MessageReader:
    """Finds the end of a mail in pieces of any size, and takes the stuffed dots off."""

    def __init__(self) -> None:
        self.is_over = False
        self.rest = b""
        """What came behind the end."""
        # A line feed in front makes the first line like all others; it is taken off again.
        self._tail = b"\n"
        self._first = True

    def feed(self, data: bytes) -> bytes:
        """The next piece; gives what is surely message."""
        block = self._tail + data
        end = _END.search(block)
        if end is not None:
            self.is_over, self.rest = True, block[end.end() :]
            block, self._tail = block[: end.start() + 1], b""
        else:
            # The end may lie across two pieces: from a line feed this near, the rest waits.
            at = block.rfind(b"\n", max(0, len(block) - 3))
            at = len(block) if at < 0 else at
            block, self._tail = block[:at], block[at:]
        text = _STUFFED.sub(b"\n", block)
        if self._first and text:
            text, self._first = text[1:], False
        return text


def command(line: bytes) -> tuple[str, bytes]:
    """The verb in capitals, and the rest."""
    verb, _, rest = line.strip().partition(b" ")
    return verb[:32].decode("latin-1").upper(), rest.strip()


def path(rest: bytes) -> str | None:
    """The address in "FROM:<a@b> SIZE=1" or "TO:<a@b>"; None where there is none."""
    match = _PATH.match(rest)
    if match is None:
        return None
    return match[2].strip().decode("utf-8", "surrogateescape")[:ADDRESS_MOST]


def domain(address: str) -> str:
    """What stands behind the last "@", in lower case."""
    return address.rpartition("@")[2].strip("> \t").lower()[:253] if "@" in address else ""


def base64_line(text: bytes) -> bytes | None:
    """A base64 answer; None where it is none."""
    try:
        return binascii.a2b_base64(text.strip(), strict_mode=True)
    except (binascii.Error, ValueError):
        return None


def plain(answer: bytes) -> Credential | None:
    """User and password of AUTH PLAIN, decoded: authorization NUL user NUL password."""
    parts = answer.split(b"\0", 2)
    return Credential(parts[1], parts[2]) if len(parts) == 3 else None


def told_of(message: bytes, size_bytes: int) -> dict[str, Any]:
    """The fields of `message_accepted` that come out of the message itself.

    Args:
        message: its beginning, or all of it; lines as they came, dots unstuffed.
        size_bytes: of the whole message.
    """
    headers, body = headers_of(message)
    attachments = [part for part in parts_of(headers, body) if part.is_attachment]
    listed: list[dict[str, Any]] = [
        {
            "filename": part.filename[:80],
            "content_type": part.content_type[:60],
            "size": part.size_bytes,
            "sha256": part.sha256,
        }
        for part in attachments[:ATTACHMENTS_TOLD]
    ]
    while len(json.dumps(listed)) > LIST_MOST:
        listed.pop()
    links = dict.fromkeys(m.decode().lower() for m in _LINK.findall(body[:LINKS_SEARCHED]))
    return {
        "subject": words(headers.get("subject", ""))[:512],
        "from": words(headers.get("from", ""))[:ADDRESS_MOST],
        "to": words(headers.get("to", ""))[:ADDRESS_MOST],
        "reply_to": headers.get("reply-to", "")[:ADDRESS_MOST],
        "message_id": headers.get("message-id", "")[:256],
        "date": headers.get("date", "")[:64],
        "mailer": (headers.get("x-mailer") or headers.get("user-agent", ""))[:256],
        "content_type": headers.get("content-type", "")[:256],
        "header_names": ",".join(headers)[:1024],
        "body_sha256": hashlib.sha256(body).hexdigest() if size_bytes == len(message) else None,
        "attachment_count": len(attachments),
        "attachments": json.dumps(listed) if listed else None,
        "attachment_names": ", ".join(p["filename"] for p in listed if p["filename"]),
        "attachment_sha256": ",".join(p["sha256"] for p in listed),
        "link_domains": ",".join(list(links)[:LINKS_TOLD]),
    }
