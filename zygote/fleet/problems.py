"""All that is wrong with a fleet file, each with its place, in the file's order."""

from __future__ import annotations

import json
from typing import Any

from zygote.errors import Exit, ZygoteError
from zygote.fleet.locate import Path, Spot, nearest


class Problems:
    """Collects errors and warnings, so that a person sees all of them at once.

    Args:
        name: the file's, for places.
        text: the file's.
        spots: what `locate` found in it.
    """

    def __init__(self, name: str, text: str, spots: dict[Path, Spot]) -> None:
        self._name = name
        self._lines = text.split("\n")
        self._spots = spots
        self._errors: dict[tuple[int, str], ZygoteError] = {}
        self._warnings: dict[tuple[int, str], str] = {}

    def place(self, path: Path) -> str:
        """`fleet.toml:31`; the first line for what stands nowhere."""
        return f"{self._name}:{self._line(path)}"

    def line_text(self, path: Path) -> str:
        """The line that a place is on."""
        return self._lines[self._line(path) - 1]

    def error(
        self,
        path: Path,
        fault: str,
        *,
        hint: str,
        code: str,
        value: Any = None,
        about: Path | None = None,
    ) -> None:
        """Something is wrong at `path`. The same fault at the same line is told once.

        Args:
            value: what the file says there, to be shown.
            about: whose fault it is, where that is not who stands at `path`.
        """
        self._errors.setdefault(
            (self._line(path), fault),
            ZygoteError(
                f"{describe(path if about is None else about, value)}: {fault}",
                code=code,
                hint=hint,
                place=self.place(path),
                exit_code=Exit.FLEET_FILE,
            ),
        )

    def warn(self, path: Path, text: str, value: Any = None) -> None:
        """Something is allowed, and probably not meant."""
        line = f"{self.place(path)}: {describe(path, value)}: {text}"
        self._warnings.setdefault((self._line(path), line), line)

    def adopt(self, error: ZygoteError, path: Path, value: Any = None) -> None:
        """An error from elsewhere, given its place here."""
        self.error(path, error.message, hint=error.hint, code=error.code, value=value)

    def errors(self) -> list[ZygoteError]:
        """In the order of their lines."""
        return [self._errors[key] for key in sorted(self._errors)]

    def warnings(self) -> tuple[str, ...]:
        """In the order of their lines."""
        return tuple(self._warnings[key] for key in sorted(self._warnings))

    def _line(self, path: Path) -> int:
        spot = nearest(self._spots, path)
        return spot.line if spot else 1


def describe(path: Path, value: Any = None) -> str:
    """`worker 'web': memory_max = "12X"`: the subject, the key in it, its value."""
    subject, rest = _subject(path)
    key = ""
    for part in rest:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += f".{part}" if key else part
    if value is not None and key:
        key = f"{key} = {shown(value)}"
    return f"{subject}: {key}" if key else subject


def shown(value: Any, most: int = 60) -> str:
    """A value as TOML would have it, cut short."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(shown(item, most) for item in value)}]"
    elif isinstance(value, dict):
        text = "{…}"
    else:
        text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def _subject(path: Path) -> tuple[str, Path]:
    if len(path) > 1 and path[0] in ("worker", "zygote"):
        kind = "template" if path[0] == "worker" and str(path[1]).endswith("@") else path[0]
        return f"{kind} '{path[1]}'", path[2:]
    if path and path[0] in ("fleet", "defaults", "worker", "zygote"):
        return f"[{path[0]}]", path[1:]
    return "the file", path
