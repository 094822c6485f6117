"""What is in a mail or a posted form: headers, and the files with their hashes. Pure and bounded.

No general mail parser: those do all that a mail may ask for. Here a message has so many parts, so
many levels and so many headers, and the rest of it is one lump. An archive is bytes.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

PARTS_MOST = 64
DEPTH_MOST = 4
HEADERS_MOST = 100
HEADER_MOST = 4096
"""Characters of a header's value."""
VALUE_MOST = 512
NAME_MOST = 128
"""Characters of a file's name."""

_HEADER = re.compile(rb"([!-9;-~]{1,64}):[ \t]*")
_PARAM = re.compile(r';\s*([A-Za-z*0-9-]{1,32})\s*=\s*(?:"([^"]{0,1024})"|([^;"\s]{1,1024}))')
_BLANK = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(
    r"utf-?8|us-ascii|latin-?1|iso-8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|gb2312|gbk|gb18030"
    r"|big5|shift_jis|euc-(?:jp|kr)|iso-2022-jp",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Part:
    """One leaf of the message, decoded from its transfer encoding."""

    content_type: str
    filename: str
    is_attachment: bool
    size_bytes: int
    sha256: str
    field: str = ""
    """The form field's name."""
    value: bytes = b""
    """The beginning of what is no attachment."""


def headers_of(data: bytes) -> tuple[dict[str, str], bytes]:
    """Headers (lower-case names, unfolded, the first of a name counts), and the body behind."""
    blank = _BLANK.search(data[: HEADERS_MOST * HEADER_MOST])
    if data[:1] == b"\n" or data[:2] == b"\r\n":
        return {}, data.removeprefix(b"\r").removeprefix(b"\n")
    head, body = (data[: blank.start()], data[blank.end() :]) if blank else (data, b"")
    headers: dict[str, str] = {}
    last = ""
    for line in head[: HEADERS_MOST * HEADER_MOST].split(b"\n")[: 4 * HEADERS_MOST]:
        line = line.removesuffix(b"\r")
        match = _HEADER.match(line)
        if line[:1] in (b" ", b"\t") and last:
            headers[last] = (headers[last] + " " + _text(line.strip()))[:HEADER_MOST]
        elif match is not None and len(headers) < HEADERS_MOST:
            last = match[1].decode().lower()
            if last in headers:
                last = ""
            else:
                headers[last] = _text(line[match.end() :])[:HEADER_MOST]
        else:
            last = ""
    return headers, body


def parts_of(headers: dict[str, str], body: bytes) -> list[Part]:
    """The leaves of a message, at most `PARTS_MOST`."""
    found = []
    for part in _walk(headers, body, 0):
        found.append(part)
        if len(found) == PARTS_MOST:
            break
    return found


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """A header like `text/plain; name="x"`: the value in lower case, and its parameters."""
    plain = value.partition(";")[0].strip().lower()[:128]
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAM.findall(value[:HEADER_MOST]):
        found.setdefault(name.lower(), quoted or bare)
        if len(found) == 16:
            break
    return plain, found


def words(text: str) -> str:
    """A header's text with its encoded words (RFC 2047) undone where they can be."""
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text[:2048])
    except (HeaderParseError, ValueError, binascii.Error):
        return text
    return "".join(
        piece if isinstance(piece, str) else _decode(piece, charset) for piece, charset in pieces
    )


def _walk(headers: dict[str, str], body: bytes, depth: int) -> Iterator[Part]:
    kind, params = parameters(headers.get("content-type", "text/plain"))
    boundary = params.get("boundary", "")[:200]
    if kind.startswith("multipart/") and boundary and depth < DEPTH_MOST:
        for piece in _pieces(body, boundary.encode("utf-8", "surrogateescape")):
            yield from _walk(*headers_of(piece), depth + 1)
        return
    disposition, more = parameters(headers.get("content-disposition", ""))
    name = _filename(more) or _filename({"filename": params.get("name", "")})
    data = _decoded(headers.get("content-transfer-encoding", ""), body)
    is_attachment = bool(name) or disposition == "attachment"
    is_attachment = is_attachment or not kind.startswith(("text/", "multipart/"))
    yield Part(
        content_type=kind,
        filename=name,
        is_attachment=is_attachment,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        field=more.get("name", "")[:NAME_MOST],
        value=b"" if is_attachment else data[:VALUE_MOST],
    )


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What stands between the boundaries; what comes before the first and after the last not."""
    mark = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]{0,64}(?=\r?\n|\Z)")
    start = -1
    for _, match in zip(range(PARTS_MOST + 1), mark.finditer(body), strict=False):
        if start >= 0:
            yield body[start : match.start()]
        if match[1]:
            return
        # Behind the line end; there is one, or the end of the body.
        start = min(len(body), body.find(b"\n", match.end()) + 1 or len(body))
    if start >= 0:
        yield body[start:]


def _decoded(encoding: str, data: bytes) -> bytes:
    try:
        match encoding.strip().lower():
            case "base64":
                return binascii.a2b_base64(data)
            case "quoted-printable":
                return binascii.a2b_qp(data)
    except (binascii.Error, ValueError):
        pass
    return data


def _filename(params: dict[str, str]) -> str:
    """The name as it was given; it is never used as one."""
    extended = params.get("filename*", "")
    if extended.count("'") >= 2:
        charset, _, quoted = extended.split("'", 2)
        return _decode(unquote_to_bytes(quoted), charset)[:NAME_MOST]
    return words(params.get("filename", ""))[:NAME_MOST]


def _decode(data: bytes, charset: str | None) -> str:
    # Only what is common: a codec's name is the sender's choice, and some of them are programs.
    known = charset is not None and _CHARSET.fullmatch(charset)
    try:
        return data.decode(charset if known and charset else "utf-8", "backslashreplace")
    except (LookupError, ValueError):
        return data.decode("latin-1")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
