"""A token's file, from its row: made anew, or out of the file that was given.

render(token, blob, settings.artifacts_dir, CanarySettings.from_env(settings.state_dir))
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from decnet.canary import bait
from decnet.canary.bait import File
from decnet.canary.instrument import FILE_MOST, BadFile, instrument
from decnet.canary.settings import CanarySettings
from decnet.canary.store import CanaryError
from decnet.db.tables import CanaryBlob, CanaryToken

_TYPES = {
    "html": "text/html",
    "svg": "image/svg+xml",
    "text": "text/plain",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


def keep(artifacts: Path, file: Path, kind: str) -> CanaryBlob:
    """Keep a copy of an operator's file under its hash; gives its row, not yet stored.

    Raises:
        CanaryError: not readable, too large, or not of the kind.
    """
    try:
        with file.open("rb") as handle:
            data = handle.read(FILE_MOST + 1)
        # Once now, so that what cannot be baited is refused when it is given.
        instrument(kind, data, bait.Call("http://192.0.2.1/c/try", "", "", ""))
        blob = CanaryBlob(
            sha256=hashlib.sha256(data).hexdigest(),
            filename=file.name[:255],
            content_type=_TYPES[kind],
            size=len(data),
        )
        place = blob_path(artifacts, blob.sha256)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = place.with_suffix(f".{os.getpid()}")
        draft.write_bytes(data)
        draft.replace(place)
    except OSError as error:
        raise CanaryError(f"cannot keep a copy of {file}: {error.strerror}") from error
    except BadFile as error:
        raise CanaryError(f"{file}: {error}") from error
    return blob


def blob_path(artifacts: Path, sha256: str) -> Path:
    """Where a file's bytes lie."""
    return artifacts / "canary" / sha256


def render(
    token: CanaryToken, blob: CanaryBlob | None, artifacts: Path, settings: CanarySettings
) -> File:
    """The file to be planted.

    Raises:
        CanaryError: the token has no file, or the one that was given is gone.
    """
    call = bait.make_call(token, settings.http_base, settings.dns_zone)
    if token.generator in bait.GENERATORS:
        return bait.generate(token.generator, call)
    if token.instrumenter is None or blob is None:
        raise CanaryError(
            f"the token {token.name!r} is an address without a file", f"use it as {call.url}"
        )
    try:
        data = blob_path(artifacts, blob.sha256).read_bytes()
        return File(blob.filename, blob.content_type, instrument(token.instrumenter, data, call))
    except OSError as error:
        raise CanaryError(
            f"the file behind {token.name!r} is gone: {error.strerror}",
            "revoke the token, and add it again with --file",
        ) from error
    except (BadFile, KeyError) as error:
        raise CanaryError(f"the file behind {token.name!r} cannot be baited: {error}") from error
