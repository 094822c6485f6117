"""The SSH decoy: a real SSH server by asyncssh, in front of a shell that is none.

Imported by the zygote of the decoys only: asyncssh is 30 MB that no other worker needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import asyncssh

from decnet.collect import rfc5424
from decnet.decoys.house import BACKLOG, House
from decnet.decoys.logins import Logins, logins_of
from decnet.decoys.recorder import Shards
from decnet.decoys.ssh_keys import host_keys
from decnet.decoys.ssh_session import Session
from zygote import sockets

SERVICE = "ssh"
LOGIN_SECONDS = 60.0
TRIES_MOST = 6
CONNECTION_SECONDS = 3600.0
CHANNELS_MOST = 8
"""On one connection."""
CLOSE_SECONDS = 2.0

# In the order of OpenSSH 9.2: what a scanner fingerprints is this list.
_KEX = (
    *("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"),
    *("ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group-exchange-sha256"),
    *("diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512"),
    "diffie-hellman-group14-sha256",
)
_CIPHERS = (
    *("chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"),
    *("aes128-gcm@openssh.com", "aes256-gcm@openssh.com"),
)
_MACS = (
    *("umac-64-etm@openssh.com", "umac-128-etm@openssh.com"),
    *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
    *("hmac-sha1-etm@openssh.com", "umac-64@openssh.com", "umac-128@openssh.com"),
    *("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"),
)


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block.

    Raises:
        BadOption: DECNET_DECOY_SSH_LOGINS cannot be read.
        OSError: the host keys cannot be read or made.
    """
    # It logs user names as they come: what attackers send goes through the journal only.
    asyncssh.set_log_level(logging.CRITICAL)
    logins = logins_of(SERVICE, os.environ)
    # Not in a thread: it takes milliseconds, and the thread's stack would stay for good.
    keys = host_keys(house.keys_dir or house.state_dir, house.keys_prefix)
    shards = Shards(house.artifacts_dir, house.decky, SERVICE)
    visitors: set[Visitor] = set()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_Here())
    acceptor = await listen(
        sock, keys, house.look.ssh, lambda: Visitor(house, logins, shards, visitors)
    )
    try:
        yield
    finally:
        await sockets.stop_accepting(sock)
        acceptor.close()
        await house.doorman.drain()
        # Each of them still has its session's end to tell.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while visitors:
                    await asyncio.sleep(0.01)
        shards.close()
        loop.set_default_executor(ThreadPoolExecutor())  # no thread before there is work


class _Here(ThreadPoolExecutor):
    """Does its work at once, and starts no thread.

    asyncssh reads its options in a thread, at the start and after each login, because it may be
    told to read files. Here is none to read, and the thread would stay with each decoy.
    """

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


async def listen(
    sock: socket.socket, keys: Any, version: str, factory: Any
) -> asyncssh.SSHAcceptor:
    """asyncssh on the socket, dressed as OpenSSH."""
    available = {
        "kex_algs": _available(_KEX, asyncssh.kex.get_kex_algs()),
        "encryption_algs": _available(_CIPHERS, asyncssh.encryption.get_encryption_algs()),
        "mac_algs": _available(_MACS, asyncssh.mac.get_mac_algs()),
    }
    return await asyncssh.listen(
        sock=sock,
        backlog=BACKLOG,
        server_factory=factory,
        server_host_keys=keys,
        server_version=version,
        login_timeout=LOGIN_SECONDS,
        compression_algs=["none", "zlib@openssh.com"],
        encoding=None,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        gss_host=None,
        config=None,
        **available,
    )


class Visitor(asyncssh.SSHServer):
    """One connection."""

    def __init__(
        self, house: House, logins: Logins, shards: Shards, visitors: set[Visitor]
    ) -> None:
        self._house = house
        self._journal = house.journal
        self._logins = logins
        self._shards = shards
        self._visitors = visitors
        self._connection: asyncssh.SSHServerConnection | None = None
        self._from: dict[str, Any] = {}
        self._user = ""
        self._tries = 0
        self._channels = 0
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody connected."""
        peer = conn.get_extra_info("peername") or ("", 0)
        self._from = {"src_ip": str(peer[0]), "src_port": peer[1]}
        self._connection = conn
        self._visitors.add(self)
        self._house.doorman.admit(self, conn.abort)
        self._journal.event("connect", self._from)
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(CONNECTION_SECONDS, conn.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a protocol that is none is worth a line."""
        if self._end is not None:
            self._end.cancel()
        self._house.doorman.leave(self)
        self._visitors.discard(self)
        if isinstance(exc, asyncssh.ProtocolError | asyncssh.KeyExchangeFailed):
            self._journal.event("protocol_error", {**self._told(), "reason": exc.reason})
        self._journal.event("disconnect", {**self._told(), "tries": self._tries or None})
        self._connection = None

    # -- who it is

    def begin_auth(self, username: str) -> bool:
        """Always ask for a proof."""
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys may be shown, none opens."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """A key was offered: its fingerprint tells more than a password."""
        told = {
            **self._told(),
            "method": "publickey",
            "principal": username,
            "key_type": key.get_algorithm(),
            "key_fingerprint": key.get_fingerprint(),
            "outcome": "refused",
        }
        self._journal.event("auth_attempt", told)
        self._count_try()
        return False

    def password_auth_supported(self) -> bool:
        """Passwords may be tried."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """One try."""
        return self._try("password", username, password)

    def kbdint_auth_supported(self) -> bool:
        """The same, asked for by the server."""
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        """One hidden answer."""
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        """One try."""
        return self._try("keyboard-interactive", username, responses[0] if responses else "")

    def _try(self, method: str, user: str, password: str) -> bool:
        self._house.doorman.heard(self)
        accepted = self._logins.accepts(user, password)
        self._journal.secret(
            "login_attempt",
            {**self._told(), "method": method, "username": user},
            principal=user,
            secret=password.encode("utf-8", "surrogateescape"),
            outcome="accepted" if accepted else "refused",
        )
        if not accepted:
            self._count_try()
        return accepted

    def _count_try(self) -> None:
        self._tries += 1
        if self._tries >= TRIES_MOST and self._connection is not None:
            loop = asyncio.get_running_loop()
            # After the refusal of this try has gone out.
            loop.call_soon(self._connection.disconnect, 2, "Too many authentication failures")

    # -- what it wants

    def session_requested(self) -> Any:
        """A channel for a shell or a command."""
        self._channels += 1
        if self._channels > CHANNELS_MOST or self._connection is None:
            return False
        heard = self._house.doorman.heard
        return Session(self._house, self._shards, self._told(), self._user, lambda: heard(self))

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        """A way through us to somebody else: never given, always told."""
        self._tell_tunnel("direct", dest_host, dest_port)
        return False

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        """A way back through us."""
        self._tell_tunnel("reverse", listen_host, listen_port)
        return False

    def _tell_tunnel(self, kind: str, host: str, port: int) -> None:
        told = {**self._told(), "direction": kind, "dest_host": host, "dest_port": port}
        self._journal.event("tunneling_suspect", told, severity=rfc5424.WARNING)

    def _told(self) -> dict[str, Any]:
        version = ""
        if self._connection is not None:
            version = self._connection.get_extra_info("client_version") or ""
        return {**self._from, "client_version": version}


def _available(wanted: tuple[str, ...], known: list[bytes]) -> list[str]:
    """Those that this asyncssh can do."""
    names = {name.decode() for name in known}
    return [name for name in wanted if name in names]
