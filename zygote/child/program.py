"""Run the program as `python` would, up to the point where an interpreter begins to finish.

The kinds: "module" is `python -m TARGET`; "file" is `python TARGET`, which may also be a folder or
an archive with a `__main__.py`; "command" is `python -c TARGET`; "function" imports `module:name`
and calls it as the script of an installed command does, where what it returns is the exit status.
A coroutine function, or any awaitable returned, is run by `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import linecache
import os
import runpy
import sys
from collections.abc import Awaitable
from types import CodeType
from typing import Any

from zygote.child import uncaught
from zygote.child.request import Request

_MISSING = 2
"""Exit status of `python FILE` where there is no such file."""
_FILE_INPUT = 257
"""Py_file_input of CPython's compile.h."""

_fopen = ctypes.CDLL(None).fopen
_fopen.restype = ctypes.c_void_p
_fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_run_open_file = ctypes.pythonapi.PyRun_FileExFlags
_run_open_file.restype = ctypes.py_object
_run_open_file.argtypes = [
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object,
    ctypes.c_int, ctypes.c_void_p,
]  # fmt: skip


def run(request: Request) -> int:
    """Run it.

    Returns:
        The exit status so far; `uncaught.BY_SIGINT` for an uncaught KeyboardInterrupt.
    """
    try:
        return _KINDS[request.kind](request)
    except BaseException as error:
        return uncaught.handle(error)


def _run_module(request: Request) -> int:
    runpy._run_module_as_main(request.target)  # type: ignore[attr-defined]
    return 0


def _run_command(request: Request) -> int:
    source = request.target
    code = compile(source, "<string>", "exec", dont_inherit=True)
    _show_lines_of(code, source)
    exec(code, sys.modules["__main__"].__dict__)
    return 0


def _show_lines_of(code: CodeType, source: str) -> None:
    """Let tracebacks show the lines of a command, as they do from Python 3.13 on."""
    register = getattr(linecache, "_register_code", None)
    if register is not None:
        by_name = not hasattr(linecache, "_interactive_cache")  # 3.13.0
        register("<string>" if by_name else code, source, "<string>")


def _run_file(request: Request) -> int:
    if request.folder:
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        return 0
    try:
        with open(request.script, "rb") as script:
            source = script.read()
    except OSError as error:
        where = f"{sys.executable}: can't open file {request.script!r}"
        print(f"{where}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        return _MISSING
    names = sys.modules["__main__"].__dict__
    status = 0
    try:
        _execute(source, request.script, names)
        _flush()
    except SystemExit:
        _flush()
        raise
    except BaseException as error:
        _flush()
        status = uncaught.handle(error)
    names.pop("__file__", None)
    names.pop("__cached__", None)
    return status


def _execute(source: bytes, script: str, names: dict[str, Any]) -> None:
    if script.endswith(".pyc"):
        exec(runpy.read_code(script), names)  # type: ignore[attr-defined]
        return
    try:
        code = compile(source, script, "exec", dont_inherit=True)
    except SyntaxError:
        code = None
    if code is not None:
        exec(code, names)
        return
    # Python words some errors of a file otherwise than those of a string: hear it as it says it.
    file = _fopen(os.fsencode(script), b"rb")
    _run_open_file(file, os.fsencode(script), _FILE_INPUT, names, names, 1, None)


def _flush() -> None:
    """As `python FILE` does when the file has run: what was printed comes before a traceback."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except Exception:  # told when the interpreter finishes
            pass


def _run_function(request: Request) -> int:
    module, _, path = request.target.partition(":")
    __import__(module)  # and not import_module, whose frames would show in a traceback
    function: Any = sys.modules[module]
    for name in path.split("."):
        function = getattr(function, name)
    result = function()
    if inspect.isawaitable(result):
        result = asyncio.run(_wait(result))
    sys.exit(result)


async def _wait(result: Awaitable[Any]) -> Any:
    return await result


_KINDS = {
    "module": _run_module,
    "file": _run_file,
    "command": _run_command,
    "function": _run_function,
}
