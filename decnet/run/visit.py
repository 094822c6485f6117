"""One real visit to the SSH decoy: by the machine's own `ssh`, else by asyncssh's client."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Visit:
    """What the visitor did and saw."""

    client: str
    user: str
    password: str
    command: str
    output: str
    exit_code: int


async def ssh_visit(
    host: str, port: int, user: str, password: str, command: str, timeout: float = 60.0
) -> Visit:
    """Log in with a password, run one command, leave.

    Raises:
        TimeoutError: the decoy did not answer in time.
        ConnectionError: the visit was refused; says what the client printed.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        return await asyncio.wait_for(_asyncssh(host, port, user, password, command), timeout)
    return await asyncio.wait_for(_openssh(ssh, host, port, user, password, command), timeout)


async def _openssh(ssh: str, host: str, port: int, user: str, password: str, command: str) -> Visit:
    with tempfile.TemporaryDirectory(prefix="decnet-visit-") as folder:
        # ssh takes a password from a program where SSH_ASKPASS_REQUIRE says so (8.4 and later).
        ask = Path(folder) / "askpass"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$DECNET_VISIT_PASSWORD"\n')
        ask.chmod(stat.S_IRWXU)
        process = await asyncio.create_subprocess_exec(
            *(ssh, "-F", "none", "-p", str(port), "-l", user, "-T"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
            *("-o", "PreferredAuthentications=password,keyboard-interactive"),
            *("-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"),
            *(host, "--", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "SSH_ASKPASS": str(ask),
                "SSH_ASKPASS_REQUIRE": "force",
                "DISPLAY": os.environ.get("DISPLAY", ":none"),
                "DECNET_VISIT_PASSWORD": password,
            },
            start_new_session=True,
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
    if process.returncode == 255:
        raise ConnectionError(f"ssh: {err.decode(errors='replace').strip() or 'refused'}")
    output = out.decode(errors="replace")
    return Visit("ssh", user, password, command, output, process.returncode or 0)


async def _asyncssh(host: str, port: int, user: str, password: str, command: str) -> Visit:
    import asyncssh

    try:
        async with asyncssh.connect(
            host,
            port,
            username=user,
            password=password,
            known_hosts=None,
            config=None,
            client_keys=None,
        ) as connection:
            done = await connection.run(command)
    except (OSError, asyncssh.Error) as error:
        raise ConnectionError(f"asyncssh: {error}") from error
    output = done.stdout if isinstance(done.stdout, str) else ""
    return Visit("asyncssh", user, password, command, output, done.exit_status or 0)
