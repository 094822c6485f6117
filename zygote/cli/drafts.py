"""What `init` and `import` have in common: where a draft goes, and what is told of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli.context import current
from zygote.cli.text import clean
from zygote.draft.model import Draft
from zygote.draft.write import settle
from zygote.errors import Exit, ZygoteError, describe_errno
from zygote.fleet.where import FILE_NAME

Force = Annotated[
    bool, Parameter(name=["--force"], show_default=False, help="Overwrite the file that is there.")
]
Print = Annotated[
    bool,
    Parameter(
        name=["--dry-run", "-n"], show_default=False, help="Print it, and write nothing."
    ),
]  # fmt: skip


def deliver(
    draft: Draft,
    folder: Path,
    guesses: Callable[[Draft], list[str]],
    *,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write, or print, a draft as `folder`/fleet.toml; what was guessed goes to stderr.

    Raises:
        ZygoteError: code fleet-file-exists, or cannot-write.
    """
    path = folder / FILE_NAME
    if path.exists() and not force and not dry_run:
        raise ZygoteError(
            f"{path} is there already",
            code="fleet-file-exists",
            hint=f"--dry-run prints the new one, --force overwrites; {current.program} check tells "
            "what the old one is worth",
            errno=errno.EEXIST,
        )
    text = settle(draft, path)
    if not dry_run:
        _write(path, text)
    said = guesses(draft)
    lost = [each._asdict() for each in draft.lost]
    if as_json:
        answer = {
            "file": None if dry_run else str(path),
            "text": text,
            "guesses": said,
            "workers": [worker.name for worker in draft.workers if not worker.off],
            "off": {worker.name: worker.off for worker in draft.workers if worker.off},
            "preload": list(draft.preload),
            "lost": lost,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        return Exit.DONE
    sys.stdout.write(
        text if dry_run
        else f"written: {path}; next: {current.program} check, {current.program} up\n"
    )  # fmt: skip
    sys.stdout.flush()
    for line in said:
        sys.stderr.write(f"{clean(line)}\n")
    if draft.lost:
        sys.stderr.write(f"not carried over, {len(lost)} in all (also at the file's end):\n")
    for each in draft.lost:
        sys.stderr.write(f"  {clean(each.place)}: {clean(each.what)}\n    {clean(each.why)}\n")
    return Exit.DONE


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise ZygoteError(
            f"cannot write {path}: {describe_errno(error.errno or 0)}",
            code="cannot-write",
            hint="--dry-run prints it: redirect that to where you may write",
            errno=error.errno or 0,
        ) from None
