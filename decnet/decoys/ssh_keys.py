"""The decoy's host keys: made once, kept in the state folder (0600), the same after a restart."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import asyncssh

ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256")


def host_keys(folder: Path, prefix: str = "") -> list[asyncssh.SSHKey]:
    """One key an algorithm, read or made. Safe when two processes ask at once.

    Args:
        prefix: before the files' names: each decky has keys of its own.
    Raises:
        OSError: the folder cannot be read or written.
        asyncssh.KeyImportError: a key file is broken.
    """
    return [
        _host_key(folder / f"{prefix}{name.replace('-', '_')}_host_key", name)
        for name in ALGORITHMS
    ]


def _host_key(path: Path, algorithm: str) -> asyncssh.SSHKey:
    if not path.exists():
        key = asyncssh.generate_private_key(algorithm)
        # link(2) fails where the name exists and never shows a half-written file.
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(key.export_private_key())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
        finally:
            Path(draft).unlink()
    return asyncssh.read_private_key(str(path))
