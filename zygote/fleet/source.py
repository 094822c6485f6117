"""A fleet file as text and as TOML, and every way in which reading it can fail."""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from zygote.errors import Exit, ZygoteError, describe_errno

MOST_BYTES = 1024 * 1024
"""A fleet file beyond this is something else."""

_DEPTH_MAX = 16
_TABLE = re.compile(r"\('[^()]*'?,?\)")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$")


def read_text(path: Path) -> str:
    """The file's text.

    Raises:
        ZygoteError: as `read_bytes` and `decode`.
    """
    return decode(read_bytes(path), path)


def decode(data: bytes, path: Path) -> str:
    """The text that a file's bytes are.

    Raises:
        ZygoteError: codes fleet-file-not-utf8, fleet-file-empty; exit code FLEET_FILE.
    """
    try:
        # A file that an editor began with a byte order mark is still a good one.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong(
            f"{path.name} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}",
            code="fleet-file-not-utf8",
            hint=_not_text_hint(data, path),
            place=f"{path.name}:{line}",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _wrong(
            f"{path.name} is not text: a NUL byte in line {line}",
            code="fleet-file-not-utf8",
            hint=_not_text_hint(data, path),
            place=f"{path.name}:{line}",
        )
    if not text.strip():
        raise _wrong(
            f"{path.name} is empty",
            code="fleet-file-empty",
            hint='the least that it needs is [fleet] with name = "…"; '
            "see `zygotectl help fleet-file`",
            place=f"{path.name}:1",
        )
    return text


def parse(text: str, name: str) -> dict[str, Any]:
    """The text as TOML.

    Args:
        name: of the file, for the error's place.
    Raises:
        ZygoteError: code toml-syntax, with line and column, and a guess at what was meant.
    """
    try:
        data = tomllib.loads(text)
        if not _is_deep(data):
            return data
    except RecursionError:
        pass  # the same, beyond what the interpreter's stack takes
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, name) from None
    lines = text.split("\n")
    line = max(range(len(lines)), key=lambda n: lines[n].count("[") + lines[n].count("{")) + 1
    raise _wrong(
        "brackets nested too deep",
        code="toml-syntax",
        hint="no key of a fleet file takes more than two levels of them",
        place=f"{name}:{line}",
    )


def _is_deep(data: dict[str, Any]) -> bool:
    """Whether anything stands deeper than any key could want it; without recursion."""
    level: list[Any] = [data]
    for _ in range(_DEPTH_MAX):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        ZygoteError: codes no-fleet-file, fleet-file-unreadable, fleet-file-not-a-file,
            fleet-file-too-big; exit code FLEET_FILE.
    """
    try:
        # Not blocking: the name may be that of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise _wrong(
            f"cannot read {path}: {describe_errno(number)}",
            code="no-fleet-file" if missing else "fleet-file-unreadable",
            hint="name the fleet file, or go to its folder"
            if missing
            else f"it must be readable for uid {os.geteuid()}, with all folders above it",
            errno=number,
        ) from None
    try:
        _check_kind(os.fstat(descriptor), path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _wrong(
            f"cannot read {path}: {describe_errno(error.errno or 0)}",
            code="fleet-file-unreadable",
            hint="look at its disk: the file is there, and reading it fails",
            errno=error.errno or 0,
        ) from None
    finally:
        os.close(descriptor)


def _check_kind(info: os.stat_result, path: Path) -> None:
    """Refuse what is no file, or no file of any sensible size."""
    if not stat.S_ISREG(info.st_mode):
        what = "a folder" if stat.S_ISDIR(info.st_mode) else "not a regular file"
        inside = path / "fleet.toml"
        raise _wrong(
            f"{path} is {what}",
            code="fleet-file-not-a-file",
            hint=f"name the file: {inside}" if inside.is_file() else "name a fleet file",
        )
    if info.st_size > MOST_BYTES:
        raise _wrong(
            f"{path} has {info.st_size} bytes, a fleet file has at most {MOST_BYTES}",
            code="fleet-file-too-big",
            hint="is it the right file? Many workers alike are instances of one template: "
            '[worker."name@"]',
        )


def _not_text_hint(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"it looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {path.name}"
    if data.startswith((b"\x7fELF", b"PK", b"\x1f\x8b", b"SQLite")):
        return "it looks like a binary file: name the fleet file"
    return f"save it as UTF-8: iconv -f LATIN1 -t UTF-8 {path.name}"


def _syntax_error(message: str, text: str, name: str) -> ZygoteError:
    """tomllib's message ends with the place; what was meant is guessed from the line."""
    lines = text.split("\n")
    line, column = len(text.rstrip("\n").split("\n")), 0
    match = _AT.search(message)
    if match:
        message = message[: match.start()]
        if match[1]:
            line, column = int(match[1]), int(match[2])
    # A line's end counts as its own first column + 1 in tomllib: stay within the text.
    line = min(line, len(lines))
    where = f"line {line}, column {column}" if column else f"line {line}, the end of the file"
    message = _TABLE.sub(lambda match: f"[{'.'.join(ast.literal_eval(match[0]))}]", message)
    return _wrong(
        f"not TOML at {where}: {message[:1].lower()}{message[1:]}",
        code="toml-syntax",
        hint=_syntax_hint(message, lines[line - 1]),
        place=f"{name}:{line}",
    )


def _syntax_hint(message: str, line: str) -> str:
    if "twice" in message or "overwrite" in message or "mutate" in message:
        return "the same key or table stands in the file before: keep one of them"
    key, equals, value = line.partition("=")
    key, value = key.strip(), value.partition("#")[0].strip()
    if not equals:
        if line.lstrip().startswith("[") and "@" in line and '"' not in line:
            inner = line.strip().strip("[]")
            head, _, tail = inner.partition(".")
            return f'a name with @ stands in quotes: [{head}."{tail}"]'
        return "a line is a [table], a key = value, or a # comment"
    if value in ("True", "False", "yes", "no", "on", "off", "Yes", "No"):
        return f"write {key} = {'true' if value.lower() in ('true', 'yes', 'on') else 'false'}"
    if re.fullmatch(r"0\d+", value):
        return f'a number cannot begin with 0; write it in quotes: {key} = "{value}"'
    if value and value[0] not in "\"'[{" and not re.fullmatch(r"[-+\d._]+", value):
        return f'text, and numbers with a unit, stand in quotes: {key} = "{value}"'
    if "array" in message.lower() or value.startswith("["):
        return "a list is closed by ] and has commas between its items"
    return "strings begin and end with the same quote on one line; lists stand in [ ]"


def _wrong(
    message: str, *, code: str, hint: str = "", place: str = "", errno: int = 0
) -> ZygoteError:
    return ZygoteError(
        message, code=code, hint=hint, place=place, errno=errno, exit_code=Exit.FLEET_FILE
    )
