"""Reads the fleet file by a process that ends: `python -m zygote.fleet FILE`.

The checker costs some 30 MB and runs code on whatever the file says; none of that stays here.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet
from zygote.manager.children import Children
from zygote.manager.start import Program

_OUTPUT_MAX = 16 * 1024 * 1024
_TIMEOUT = 60.0
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Ours, not our workers'; a fleet file may name files in it."""


class FleetFileError(ZygoteError):
    """The fleet file is wrong; `errors` says all that is wrong with it."""

    def __init__(self, file: str, errors: list[ZygoteError]) -> None:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        first = errors[0]
        super().__init__(
            f"{file}: {first.message}{more}",
            code="fleet-file",
            hint=first.hint,
            place=first.place,
            exit_code=Exit.FLEET_FILE,
        )
        self.errors = errors


async def check(file: str, children: Children, env: Mapping[str, str]) -> Fleet:
    """The checked fleet.

    Raises:
        FleetFileError: what is wrong with the file.
        ZygoteError: the checker itself failed.
    """
    loop = asyncio.get_running_loop()
    out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(into, True)
    try:
        # -P: a json.py beside the fleet file is the fleet's, not ours.
        argv = (sys.executable, "-P", "-m", "zygote.fleet", file)
        own = {name: os.environ[name] for name in (_CREDENTIALS,) if name in os.environ}
        child = children.start(Program(argv, {**env, **own}, stdout=into), "checker", file)
    except OSError as error:
        os.close(out)
        raise ZygoteError(
            f"cannot check {file}: {error.strerror}", errno=error.errno or 0, step="check"
        ) from error
    finally:
        os.close(into)
    try:
        async with asyncio.timeout(_TIMEOUT):
            output = await read_all(loop, out)
            end = await asyncio.shield(child.ended)
    except (TimeoutError, asyncio.CancelledError) as stopped:
        if not child.ended.done():
            children.kill(child)
        if isinstance(stopped, asyncio.CancelledError):
            raise
        raise ZygoteError(f"checking {file} took over {_TIMEOUT:g} s", step="check") from None
    finally:
        os.close(out)
    return _read(file, output, str(end))


def _read(file: str, output: bytes, end: str) -> Fleet:
    try:
        data = json.loads(output)
        if "errors" in data:
            raise FleetFileError(file, [ZygoteError.from_dict(each) for each in data["errors"]])
        return Fleet.from_json(data)
    except (ValueError, KeyError, TypeError) as error:
        raise ZygoteError(
            f"cannot check {file}: the checker {end} without an answer",
            code="checker-failed",
            step="check",
            hint=f"run it by hand: {sys.executable} -m zygote.fleet {file}",
        ) from error


async def read_all(loop: asyncio.AbstractEventLoop, source: int) -> bytes:
    """Everything from a non-blocking pipe, to its end."""
    output = bytearray()
    done = loop.create_future()

    def readable() -> None:
        try:
            block = os.read(source, 65536)
        except BlockingIOError:
            return
        output.extend(block)
        if (not block or len(output) > _OUTPUT_MAX) and not done.done():
            done.set_result(None)

    loop.add_reader(source, readable)
    try:
        await done
    finally:
        loop.remove_reader(source)
    return bytes(output)
