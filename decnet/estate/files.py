"""Files that personas leave on a decky, where its shell finds them: STATE/estate/DECKY/….

The database has the truth (`synthetic_files`); a file that is missing or torn is written again.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FOLDER = "estate"
BODY_MOST = 16 << 10


def place(state_dir: Path, decky: str, path: str, body: str) -> Path:
    """Write a file of a decky, whole or not at all.

    Args:
        path: absolute, in the decky's own tree.
    Raises:
        OSError: it cannot be written.
        ValueError: the path leads out of the decky's folder.
    """
    root = state_dir / FOLDER / decky
    target = Path(os.path.normpath(root / path.lstrip("/")))
    if root not in target.parents:
        raise ValueError(f"{path!r} leads out of the folder of {decky}")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body.encode()[:BODY_MOST])
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return target


def placed(state_dir: Path, decky: str, most: int = 64) -> dict[str, bytes]:
    """What lies on a decky: absolute path -> bytes; at most `most` files, each cut at a limit."""
    root = state_dir / FOLDER / decky
    found: dict[str, bytes] = {}
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            if name.startswith(".draft-"):
                continue
            if len(found) >= most:
                return found
            whole = Path(folder, name)
            try:
                with whole.open("rb") as file:
                    found["/" + str(whole.relative_to(root))] = file.read(BODY_MOST)
            except OSError:
                continue
    return found
