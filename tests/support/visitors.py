"""Real decoys and the real programs that visit them; what they leave in the spool."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from decnet.collect import rfc5424
from tests.support.bus import DEADLINE, until
from tests.support.decnet_env import Worker, worker
from zygote.sys import procfs


@dataclass(frozen=True)
class Event:
    """A line of a spool file."""

    type: str
    fields: dict[str, str] = field(default_factory=dict)


def spooled(folder: Path, decoy: str) -> list[Event]:
    """Every event in a decoy's spool; fails where a line is torn. The last may be on its way."""
    events = []
    for file in sorted(folder.glob(f"spool/{decoy}.log*"), key=lambda p: (p.suffix == ".log", p)):
        for line in file.read_bytes().split(b"\n")[:-1]:
            message = rfc5424.decode(line.decode())
            events.append(Event(message.msgid, dict(message.elements[0].params)))
    return events


def of_type(folder: Path, decoy: str, *types: str) -> list[Event]:
    """Those of some types."""
    return [event for event in spooled(folder, decoy) if event.type in types]


@dataclass
class Decoy:
    """A running decoy."""

    process: Worker
    folder: Path
    name: str
    port: int

    def events(self, *types: str) -> list[Event]:
        """What it told so far."""
        return of_type(self.folder, self.name, *types)

    def private_kib(self) -> int:
        """What it shares with no other process."""
        memory = procfs.read_memory(self.process.pid)
        assert memory
        return memory.uss_kib

    async def deserted(self) -> None:
        """Until it has told that each of its visitors is gone (http tells of none)."""
        await until(lambda: len(self.events("connect")) == len(self.events("disconnect")))


@contextlib.asynccontextmanager
async def decoy(folder: Path, kind: str, **env: str) -> AsyncIterator[Decoy]:
    """`python -m decnet.workers.decoy KIND` on a port that the kernel chose."""
    name = f"decoy@{kind}"
    port_variable = f"DECNET_DECOY_{kind.partition('-')[0].upper()}_PORT"
    started = len(of_type(folder, name, "startup"))
    async with worker(
        folder, "decnet.workers.decoy", kind, **{port_variable: "0", **env}
    ) as process:

        def listening() -> list[Event]:
            assert process.process.returncode is None, process.log.read_text()
            return of_type(folder, name, "startup")[started:]

        events = await until(listening)
        yield Decoy(process, folder, name, int(events[0].fields["port"]))


@dataclass(frozen=True)
class Ran:
    """A program that ended."""

    code: int
    out: str
    err: str


async def run(*arguments: str, stdin: bytes = b"", **env: str) -> Ran:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | env,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate(stdin)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ran(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def ssh(
    folder: Path,
    port: int,
    *command: str,
    user: str = "root",
    password: str = "hunter2",
    options: tuple[str, ...] = (),
    stdin: bytes = b"",
) -> Ran:
    """The machine's own client, with a password."""
    ask = folder / "askpass.sh"
    if not ask.exists():
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$TEST_SSH_PASSWORD"\n')
        ask.chmod(0o700)
    return await run(
        *("ssh", "-F", "none", "-p", str(port), "-l", user),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "LogLevel=ERROR", "-o", "PubkeyAuthentication=no"),
        *("-o", "NumberOfPasswordPrompts=1"),
        *options,
        *("127.0.0.1", *command),
        stdin=stdin,
        SSH_ASKPASS=str(ask),
        SSH_ASKPASS_REQUIRE="force",
        TEST_SSH_PASSWORD=password,
    )


class Crowd:
    """HTTP visitors from many addresses, each request with a number; counts what was answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered: set[int] = set()
        self._next = 0

    async def visit(self, requests: int, source: str) -> None:
        """One connection with so many requests. Ends early where the decoy is gone."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(source, 0)
            )
            try:
                for _ in range(requests):
                    number, self._next = self._next, self._next + 1
                    head = f"GET /visit/{number} HTTP/1.1\r\nHost: x\r\nUser-Agent: crowd\r\n\r\n"
                    writer.write(head.encode())
                    answer = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"Content-Length: (\d+)", answer)
                    assert length is not None
                    await reader.readexactly(int(length[1]))
                    self.answered.add(number)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def storm(self, visitors: int, requests: int, at_once: int = 8) -> None:
        """Many connections, some at once."""
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with gate:
                await self.visit(requests, f"127.0.1.{1 + number % 40}")

        async with asyncio.timeout(4 * DEADLINE):
            await asyncio.gather(*(one(n) for n in range(visitors)))


BOMB = b"PK\x03\x04" + bytes(range(256)) * 300


def needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"no {program} here: apt-get install {package}"
    )


def kept(running: Decoy) -> list[Path]:
    """The files that it captured."""
    return sorted(path for path in running.folder.glob("artifacts/*/*/captures/*/*.bin"))


def secrets(running: Decoy) -> list[tuple[str, bytes, str]]:
    """(principal, secret, outcome) of each log-in."""
    return [
        (
            e.fields["principal"],
            base64.b64decode(e.fields.get("secret_b64", "")),
            e.fields["outcome"],
        )
        for e in running.events("login_attempt")
    ]
