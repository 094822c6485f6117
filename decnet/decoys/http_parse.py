"""HTTP/1.x requests of people who mean harm: strict where it counts, bounded everywhere. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from decnet.decoys.mime import parts_of

HEAD_MOST = 16 << 10
HEADERS_MOST = 100
TARGET_MOST = 8 << 10
BODY_MOST = 64 << 10
FIELDS_MOST = 64

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
_LENGTH = re.compile(rb"\d{1,12}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_USER_NAMES = ("username", "user", "login", "email", "log", "uname", "userid", "name")
_PASSWORD_NAMES = ("password", "passwd", "pass", "pwd", "secret")


class BadRequest(ValueError):
    """The request cannot be served; `status` is what an honest server would answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The head of a request. Header names are lower-case; a repeated one is joined by ", "."""

    method: str
    target: str
    version: tuple[int, int]
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the question mark."""
        return self.target.partition("?")[2]

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to go on with this connection."""
        words = self.headers.get("connection", "").lower()
        return "close" not in words if self.version >= (1, 1) else "keep-alive" in words


@dataclass(frozen=True)
class Login:
    """A credential somebody sent. `secret` is the exact bytes."""

    principal: str
    secret: bytes
    kind: str
    how: str


def parse_head(head: bytes) -> Request:
    """Parse request line and headers, without the empty line that ends them.

    Raises:
        BadRequest: 400, 431 or 505.
    """
    lines = head.split(b"\n")
    lines = [line.removesuffix(b"\r") for line in lines]
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise BadRequest(400, "no request line")
    method, target, version = parts
    if not _TOKEN.fullmatch(method) or len(method) > 32:
        raise BadRequest(400, "no method")
    match = _VERSION.fullmatch(version)
    if match is None:
        raise BadRequest(400, "no version")
    if match[1] != b"1":
        raise BadRequest(505, "version")
    if not 0 < len(target) <= TARGET_MOST:
        raise BadRequest(414, "target too long")
    if len(lines) - 1 > HEADERS_MOST:
        raise BadRequest(431, "too many headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadRequest(400, "no header")
        key, text = name.decode().lower(), value.strip(b" \t").decode("utf-8", "surrogateescape")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Request(
        method.decode(),
        target.decode("utf-8", "surrogateescape"),
        (int(match[1]), int(match[2])),
        headers,
    )


def body_length(request: Request, most: int = BODY_MOST) -> int | None:
    """Bytes of the body, at most `most`; None where it comes in chunks.

    Raises:
        BadRequest: 400 (both or neither is meant), 413, 501.
    """
    encoding = request.headers.get("transfer-encoding", "").lower()
    length = request.headers.get("content-length")
    if encoding:
        if length is not None:
            raise BadRequest(400, "length and encoding")
        if encoding != "chunked":
            raise BadRequest(501, "encoding")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length.encode("utf-8", "replace")):
        raise BadRequest(400, "length")
    if int(length) > most:
        raise BadRequest(413, "body too long")
    return int(length)


def chunk_length(line: bytes, most: int = BODY_MOST) -> int:
    """The length in a chunk's first line (without line end), at most `most`.

    Raises:
        BadRequest: 400, 413.
    """
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise BadRequest(400, "chunk")
    length = int(match[1], 16)
    if length > most:
        raise BadRequest(413, "body too long")
    return length


def authorization(value: str) -> Login | None:
    """The credential in an Authorization header."""
    scheme, _, rest = value.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "basic":
            try:
                user, _, secret = base64.b64decode(rest, validate=True).partition(b":")
            except (binascii.Error, ValueError):
                return None
            return Login(_text(user), secret, "plaintext", "basic")
        case "bearer" if rest:
            return Login("", rest.encode("utf-8", "surrogateescape"), "http_bearer", "bearer")
        case "digest":
            parts = dict(re.findall(r'(\w{1,32})="([^"]{0,512})"', rest))
            if "response" in parts:
                secret = parts["response"].encode("utf-8", "surrogateescape")
                return Login(parts.get("username", ""), secret, "http_digest_md5", "digest")
    return None


def form_login(content_type: str, body: bytes) -> Login | None:
    """The credential in a posted form or JSON object; None where there is no password in it."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        fields = _json_fields(body)
    elif kind == "multipart/form-data":
        parts = parts_of({"content-type": content_type}, body)
        fields = {part.field.lower(): part.value for part in parts if not part.is_attachment}
    else:
        try:
            # Latin-1 both ways keeps every byte; given bytes, parse_qsl of 3.11 refuses some.
            pairs = parse_qsl(
                body.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=FIELDS_MOST,
                encoding="latin-1",
            )
        except ValueError:
            return None
        fields = {
            _text(name.encode("latin-1")).lower(): value.encode("latin-1") for name, value in pairs
        }
    return login_in(fields, "json" if "json" in kind else "form")


def login_in(fields: dict[str, bytes], how: str) -> Login | None:
    """The credential among a form's fields, by their lower-case names."""
    secret = next((fields[n] for n in _PASSWORD_NAMES if n in fields), None)
    if secret is None:
        return None
    user = next((fields[n] for n in _USER_NAMES if n in fields), b"")
    return Login(_text(user), secret, "plaintext", how)


def decoded_path(path: str) -> str:
    """The path with its percent escapes undone, for choosing a page. Never used as a file name."""
    return _text(unquote_to_bytes(path.encode("utf-8", "surrogateescape")))


def _json_fields(body: bytes) -> dict[str, bytes]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        str(name).lower(): item.encode("utf-8", "surrogatepass")
        for name, item in list(value.items())[:FIELDS_MOST]
        if isinstance(item, str)
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
