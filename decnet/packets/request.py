"""An HTTP/1 request's head: what a client shows of itself."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

HEAD_MOST = 16 << 10
HEADERS_MOST = 128
_LINE = re.compile(rb"([A-Z]{3,16}) (\S{1,8192}) HTTP/([0-9]\.[0-9])")
_STARTS = (b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PROP")


@dataclass(frozen=True)
class Request:
    """Headers in their order, with their names as they were spelt."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first header of that name in lower case; "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")


def is_request(data: bytes) -> bool:
    """Whether the bytes begin as a request does."""
    return data[:4] in _STARTS


def parse_head(data: bytes) -> Request | None:
    """The request at the beginning of a stream; None where its head is not complete, or is none."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or end > HEAD_MOST:
        return None
    first, *lines = data[:end].split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None or len(lines) > HEADERS_MOST:
        return None
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            return None
        headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
    method, target, version = (part.decode("latin-1") for part in match.groups())
    return Request(method, target, version, tuple(headers))


def header_print(request: Request) -> str:
    """What a client gives away by how it asks: version, names and order of its headers, as a hash.

    Of our own making. (JA4H would say more of it, under a licence that ours cannot take along.)
    """
    names = ",".join(name for name, _ in request.headers)
    digest = hashlib.sha256(f"{request.version}:{names}".encode()).hexdigest()
    return digest[:24]
