"""systemd's tools, as the system tests use them."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asyncvarlink import VarlinkClientProtocol, connect_unix_varlink

from tests.support import managers
from zygote.control.interface import ManagerInterface

FOLDER = Path("/srv/fleet")
"""Where fleets of units are: not in /tmp, of which a service has its own."""


async def run(*words: str, code: int | None = 0, patience: float = 0) -> str:
    """Run a command; stdout. Its exit code must be `code`, unless that is None."""
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), patience or managers.PATIENCE)
    if code is not None and process.returncode != code:
        tail = await journal("-n", "60", "-o", "short")
        told = f"{out.decode()}{err.decode()}"
        raise AssertionError(f"{' '.join(words)}: exit {process.returncode}\n{told}\n{tail}")
    return out.decode().strip()


async def journal(*words: str) -> str:
    """Lines of the journal."""
    return await run("journalctl", "--no-pager", "-q", *words, code=None)


async def show(unit: str, key: str) -> str:
    return await run("systemctl", "show", "-P", key, unit)


async def zygotectl(*words: str, code: int | None = 0) -> str:
    return await run(
        sys.executable, "-m", "zygote.cli", "--fleet", str(FOLDER / "fleet.toml"), *words, code=code
    )


async def workers_at(socket: str) -> dict[str, Any]:
    """What the manager there says of its workers, by name; {} while nobody answers."""
    try:
        transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, socket)
    except OSError:
        return {}
    try:
        reply = await asyncio.wait_for(protocol.make_proxy(ManagerInterface).List(), 60)
        return {worker.name: asdict(worker) for worker in reply["workers"]}
    except (OSError, TimeoutError, ConnectionError):
        return {}
    finally:
        transport.close()
        await transport.closed_future


def make_folder(fleet: str) -> Path:
    """A fresh FOLDER with that fleet file."""
    Path("/root").chmod(0o711)  # where this Python may be: other users must get at it
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "fleet.toml").write_text(fleet)
    return FOLDER


def drop_in(unit: str, text: str) -> None:
    """Settings that only the tests want.

    Units do not get the mark of the session: what they leave is theirs to show, test by test.
    """
    folder = Path("/etc/systemd/system") / f"{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tests.conf").write_text(f"[Service]\n{text}\n")


async def eventually(look, condition, patience: float = 0):  # type: ignore[no-untyped-def]
    """What `look` gives, as soon as it is as it should be."""
    seen = None
    try:
        async with asyncio.timeout(patience or managers.PATIENCE):
            while True:
                seen = await look()
                if condition(seen):
                    return seen
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"last seen: {seen}\n{await journal('-n', '60')}") from None
