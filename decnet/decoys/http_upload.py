"""Files that come in a web request: which requests bring one, and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from decnet.decoys.captures import Capture
from decnet.decoys.http_parse import BODY_MOST, Request
from decnet.decoys.mime import parameters, parts_of

PARSED_MOST = 2 << 20
"""Bytes of a form that are searched for its files."""
FILES_MOST = 10
"""Files of one request that are told one by one."""
_NO_FILE = ("", "application/x-www-form-urlencoded", "application/json", "application/xml")


@dataclass(frozen=True)
class Upload:
    """One file of a request."""

    filename: str
    content_type: str
    size_bytes: int
    sha256: str


def brings_file(request: Request) -> bool:
    """Whether the body is to be kept as a file: by method, type, or sheer size."""
    if request.method in ("PUT", "PATCH"):
        return True
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    is_big = length.isascii() and length.isdigit() and int(length[:12]) > BODY_MOST
    return is_big or (kind not in _NO_FILE and not kind.startswith("text/"))


def uploads_of(request: Request, capture: Capture) -> list[Upload]:
    """The files in a body that has come completely, before it is kept."""
    kind, _ = parameters(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        body = capture.read(PARSED_MOST)
        headers = {"content-type": request.headers["content-type"]}
        found = [part for part in parts_of(headers, body) if part.filename or part.is_attachment]
        files = [
            Upload(part.filename, part.content_type, part.size_bytes, part.sha256)
            for part in found[:FILES_MOST]
        ]
        # One that is longer than what was searched has the body's hash, and no other.
        if files and capture.size_bytes <= PARSED_MOST:
            return files
        if not found and capture.size_bytes <= PARSED_MOST:
            return []
    name = request.path.rpartition("/")[2][:255]
    return [Upload(name, kind, capture.size_bytes, capture.sha256)]


def told(upload: Upload, capture: Capture) -> dict[str, Any]:
    """The fields of an `upload` event."""
    return {
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size_bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "body_sha256": capture.sha256,
        "stored_as": str(capture.path) if capture.path else None,
        "cut_short": "true" if capture.truncated else None,
    }
