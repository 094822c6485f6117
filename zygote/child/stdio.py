"""Standard streams: the descriptors 0, 1, 2, and the objects of `sys` over them.

`sys.stdin`, `stdout` and `stderr` are made anew as an interpreter makes them when it starts, from
the worker's own environment. The zygote's are kept: code of the floor may hold them, and freeing
one would flush what the zygote had not written yet into the worker's output.
"""

from __future__ import annotations

import codecs
import ctypes
import fcntl
import io
import locale
import os
import sys
from collections.abc import Mapping
from typing import Any

from zygote.child.request import STDIO, Request

_FREE = 3
_UTF8_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")
"""Locales that stand for "C" (PEP 538): undecodable bytes pass through them."""
_FULL, _LINES, _UNBUFFERED = 0, 1, 2  # _IOFBF, _IOLBF, _IONBF of stdio.h
_BUFFER_SIZE = 8192
_zygote_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
_libc = ctypes.CDLL(None)
_setvbuf = _libc.setvbuf
_setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
_kept: list[Any] = []


def place(request: Request) -> None:
    """Make the request's descriptors 0, 1 and 2; close those of them that it has not.

    Raises:
        OSError: EBADF.
    """
    sources = [
        # One that came as 0 to 2 would be overwritten before it is its turn.
        fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FREE) if 0 <= source < _FREE else source
        for source in request.stdio
    ]
    for number, source in enumerate(sources):
        if source >= 0:
            os.dup2(source, number, inheritable=True)
        else:
            os.closerange(number, number + 1)


def open_streams(env: Mapping[str, str]) -> list[Any]:
    """Make new objects for sys.stdin, sys.stdout and sys.stderr, and for their originals.

    Returns:
        The zygote's, which must be kept.
    """
    old: list[Any] = [sys.stdin, sys.stdout, sys.stderr]
    encoding, errors = stdio_encoding(env)
    unbuffered = bool(env.get("PYTHONUNBUFFERED"))
    if unbuffered != _zygote_unbuffered:
        _buffer_c_streams(unbuffered)
    for number, name in enumerate(STDIO):
        how = "backslashreplace" if name == "stderr" else errors
        stream = _open(number, name, encoding, how, unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return old


def _buffer_c_streams(unbuffered: bool) -> None:
    """What C code reads and prints: as the interpreter sets it, too, when it starts."""
    for number, name in enumerate(STDIO):
        lines = number < 2 and os.isatty(number)
        mode = _UNBUFFERED if unbuffered or number == 2 else _LINES if lines else _FULL
        # glibc does not make a buffer for a stream that had none: it must be given one.
        buffer = None if mode == _UNBUFFERED else ctypes.create_string_buffer(_BUFFER_SIZE)
        _kept.append(buffer)
        _setvbuf(ctypes.c_void_p.in_dll(_libc, name), buffer, mode, _BUFFER_SIZE)


def stdio_encoding(env: Mapping[str, str]) -> tuple[str, str]:
    """Encoding and error handler of stdin and stdout.

    LC_CTYPE is in force already. See: PYTHONIOENCODING, PEP 538 (coercion), PEP 540 (UTF-8 mode).
    """
    asked, _, asked_errors = env.get("PYTHONIOENCODING", "").partition(":")
    ctype = locale.setlocale(locale.LC_CTYPE)
    plain = ctype in ("C", "POSIX")
    mode = env.get("PYTHONUTF8", "")
    if mode == "1" or (plain and mode != "0"):
        encoding, errors = "utf-8", "surrogateescape"
    else:
        encoding = codecs.lookup(locale.nl_langinfo(locale.CODESET)).name
        errors = "surrogateescape" if plain or ctype in _UTF8_LOCALES else "strict"
    if asked:
        encoding = codecs.lookup(asked).name
        errors = asked_errors or "strict"
    return encoding, asked_errors or errors


def _open(number: int, name: str, encoding: str, errors: str, unbuffered: bool) -> Any:
    try:
        os.fstat(number)
    except OSError:
        return None
    writing = number > 0
    raw_only = unbuffered and writing
    # The descriptor stays open whatever happens to the object: it is the process's.
    buffer: Any = open(  # noqa: SIM115
        number, "wb" if writing else "rb", buffering=0 if raw_only else -1, closefd=False
    )
    raw = buffer if raw_only else buffer.raw
    raw.name = f"<{name}>"
    stream = io.TextIOWrapper(
        buffer,
        encoding,
        errors,
        "\n",
        line_buffering=not unbuffered and (number == 2 or raw.isatty()),
        write_through=unbuffered,
    )
    stream.mode = "w" if writing else "r"  # type: ignore[misc]
    return stream
