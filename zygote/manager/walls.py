"""The walls of a worker as its Spawn says them, and what its report says of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zygote.fleet.model import WorkerSpec

_RUNTIME = "%t"
_MOST = 40


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands around a worker that runs, and what should and does not."""

    walls: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    @classmethod
    def read(cls, record: dict[str, Any]) -> Standing:
        """From a report or a state file; the child's word, so it is cut to size."""
        parts = (record.get("walls"), record.get("gaps"))
        lines = ([str(each)[:200] for each in part or ()][:_MOST] for part in parts)
        return cls(*map(tuple, lines))


def body(spec: WorkerSpec, runtime_dir: str, gaps: Iterable[str]) -> dict[str, Any] | None:
    """`walls` of a Spawn's body; None: nothing is asked for, and nothing will be told.

    Args:
        gaps: what is known to be missing before the start.
    """
    kernel = spec.landlock is not None or spec.seccomp_filter or spec.private_network
    others = spec.user, spec.capabilities, spec.no_new_privs or None
    if not (kernel or spec.private_tmp or spec.read_only_paths) and others == (None, None, None):
        return None

    def real(path: str) -> str:
        mark = "-" * path.startswith("-")
        plain = path[len(mark) :]
        if plain.startswith(_RUNTIME):
            plain = runtime_dir + plain[len(_RUNTIME) :]
        return mark + plain

    landlock: dict[str, Any] | None = None
    if spec.landlock is not None:
        landlock = {
            name: [int(item) for item in items] if name in ("bind", "connect")
            else [real(item) for item in items]
            for name, items in spec.landlock.items()
            if items != ("any",)
        }  # fmt: skip
    return {
        "report": spec.walls == "report",
        "gaps": list(gaps),
        "network": spec.private_network,
        "tmp": spec.private_tmp,
        "keep": _kept(spec, runtime_dir, landlock or {}),
        "read_only": [real(path) for path in spec.read_only_paths],
        "landlock": landlock,
        "seccomp": spec.seccomp_filter,
        "seccomp_words": spec.seccomp_said,
    }


def make_folders(spec: WorkerSpec, runtime_dir: str, uid: int | None, gid: int | None) -> None:
    """The folders in the runtime folder that a worker may write to: it cannot make them itself.

    Raises:
        OSError: they cannot be made.
    """
    for path in (spec.landlock or {}).get("write", ()):
        if path.startswith(_RUNTIME) and path.endswith("/"):
            folder = runtime_dir + path[len(_RUNTIME) :]
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - a text is given and wanted
            os.chmod(folder, 0o711)  # noqa: PTH101 - whatever our umask is
            if uid is not None:
                os.chown(folder, uid, -1 if gid is None else gid)


def needs_no_new_privs(spec: WorkerSpec) -> bool:
    """Whether a wall is asked for that the kernel gives only to who can gain no privileges."""
    return spec.no_new_privs or spec.landlock is not None or bool(spec.seccomp_filter)


def _kept(spec: WorkerSpec, runtime_dir: str, landlock: dict[str, Any]) -> list[str]:
    """Paths below /tmp that are to be seen in a /tmp of its own."""
    if not spec.private_tmp:
        return []
    named = [
        path.lstrip("-") for key in ("read", "write", "execute") for path in landlock.get(key, ())
    ]
    wanted = dict.fromkeys([runtime_dir, spec.cwd, *named])
    return [path for path in wanted if path.startswith(("/tmp/", "/var/tmp/"))]
