"""The dashboard's files: read once, answered from memory; every unknown path is the index."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from decnet.context import WorkerError
from decnet.settings import EXIT_CONFIG

INDEX = "/index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
SECURITY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is answered."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    etag: bytes


class Files:
    """Path ("/app.js") -> file."""

    def __init__(self, files: dict[str, File]) -> None:
        self._files = files

    @classmethod
    def load(cls, folder: Traversable | None = None) -> Files:
        """Read the package's files.

        Raises:
            WorkerError: there is no index page (exit code 78).
        """
        root = resources.files("decnet.web").joinpath("static") if folder is None else folder
        files = dict(_walk(root, "")) if root.is_dir() else {}
        if INDEX not in files:
            raise WorkerError(
                f"the dashboard's files are missing: there is no {INDEX[1:]} in {root}",
                hint="install the package anew; its wheel contains them",
                exit_code=EXIT_CONFIG,
            )
        return cls(files)

    def get(self, path: str) -> File:
        """The file of a path; the index page for all that is none."""
        return self._files.get(path) or self._files[INDEX]


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for entry in folder.iterdir():
        name = f"{prefix}/{entry.name}"
        if entry.is_dir():
            found += _walk(entry, name)
        elif (kind := TYPES.get(entry.name.rpartition(".")[2])) is not None:
            found.append((name, _file(entry.read_bytes(), kind)))
    return found


def _file(body: bytes, kind: str) -> File:
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
    headers = (
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"etag", etag),
        # Always asked again (a 304 is small): an update must not meet old modules.
        (b"cache-control", b"no-cache"),
        *SECURITY,
    )
    return File(body, headers, etag)
