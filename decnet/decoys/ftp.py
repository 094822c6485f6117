"""The ftp decoy: log-in, listings, downloads of nothing much, and uploads that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from decnet.decoys.ftp_answers import ANSWERS, FEATURES, OPEN_ANSWERS
from decnet.decoys.ftp_data import Passive, Ports, plain_address, wanted_address
from decnet.decoys.ftp_files import Shelf
from decnet.decoys.house import House
from decnet.decoys.logins import Logins, logins_of
from decnet.decoys.stream import Visit, serve_visits, text_of

SERVICE = "ftp"
EVERYBODY = "anonymous:* ftp:* !*: *:*"
TRIES_MOST = 6


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block.

    Raises:
        BadOption: DECNET_DECOY_FTP_LOGINS cannot be read.
    """
    logins, ports = logins_of(SERVICE, os.environ, EVERYBODY), Ports()
    async with serve_visits(sock, house, lambda r, w: FtpVisit(r, w, house, logins, ports)):
        yield


class FtpVisit(Visit):
    """One control connection."""

    FIRST_SECONDS = 60.0
    LINE_MOST = 2048

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        house: House,
        logins: Logins,
        ports: Ports,
    ) -> None:
        super().__init__(reader, writer, house)
        self._logins = logins
        self._ports = ports
        self._shelf = Shelf(house.look)
        self._own = str((writer.get_extra_info("sockname") or ("127.0.0.1",))[0])
        self._user = ""
        self._is_in = False
        self._tries = 0
        self._passive: Passive | None = None

    async def talk(self) -> None:
        """Commands until QUIT."""
        await self.say(f"220 {self.house.look.ftp}\r\n")
        while (line := await self.line()) is not None:
            verb_bytes, _, rest = line.strip().partition(b" ")
            verb, rest = verb_bytes[:16].decode("latin-1").upper(), rest.strip()
            if verb != "PASS":
                self.tell("command", command=text_of(line.strip()), user=self._user)
            if verb in _OPEN:
                await _OPEN[verb](self, rest)
            elif verb in OPEN_ANSWERS:
                await self.say(f"{OPEN_ANSWERS[verb]}\r\n")
            elif not self._is_in:
                await self.say("530 Please login with USER and PASS.\r\n")
            elif verb in _COMMANDS:
                await _COMMANDS[verb](self, rest)
            elif verb in ANSWERS:
                await self.say(f"{ANSWERS[verb]}\r\n")
            elif verb in ("PORT", "EPRT"):
                await self._active(verb, rest)
            else:
                await self.say("500 Unknown command.\r\n")
            if verb == "QUIT" or self._tries >= TRIES_MOST:
                return

    def over(self) -> None:
        """A data port does not outlive its visit."""
        self._drop_passive()

    def too_long(self) -> bytes:
        """As FTP servers say it."""
        return b"500 Input line too long.\r\n"

    # -- log-in

    async def _user_name(self, rest: bytes) -> None:
        self._user, self._is_in = text_of(rest[:256]), False
        await self.say("331 Please specify the password.\r\n")

    async def _password(self, rest: bytes) -> None:
        if not self._user:
            await self.say("503 Login with USER first.\r\n")
            return
        self._is_in = self._logins.accepts(self._user, text_of(rest))
        outcome = "accepted" if self._is_in else "refused"
        self.tell_secret(self._user, rest, outcome=outcome, method="pass")
        self._tries = 0 if self._is_in else self._tries + 1
        text = "230 Login successful." if self._is_in else "530 Login incorrect."
        await self.say(f"{text}\r\n")

    async def _features(self, rest: bytes) -> None:
        lines = "".join(f" {name}\r\n" for name in FEATURES)
        await self.say(f"211-Features:\r\n{lines}211 End\r\n")

    # -- files

    async def _cwd(self, rest: bytes) -> None:
        path = self._shelf.resolve(text_of(rest))
        if not self._shelf.is_dir(path):
            await self.say("550 Failed to change directory.\r\n")
            return
        self._shelf.folder = path
        await self.say("250 Directory successfully changed.\r\n")

    async def _cdup(self, rest: bytes) -> None:
        await self._cwd(b"..")

    async def _pwd(self, rest: bytes) -> None:
        await self.say(b'257 "%b" is the current directory\r\n' % _bytes(self._shelf.folder))

    async def _size(self, rest: bytes) -> None:
        size = self._shelf.size(self._shelf.resolve(text_of(rest)))
        await self.say("550 Could not get file size.\r\n" if size is None else f"213 {size}\r\n")

    async def _mdtm(self, rest: bytes) -> None:
        known = self._shelf.size(self._shelf.resolve(text_of(rest))) is not None
        text = f"213 {self._shelf.modified}" if known else "550 Could not get file time."
        await self.say(f"{text}\r\n")

    async def _delete(self, rest: bytes) -> None:
        done = self._shelf.remove(self._shelf.resolve(text_of(rest)))
        await self.say("250 Done.\r\n" if done else "550 Operation failed.\r\n")

    async def _mkdir(self, rest: bytes) -> None:
        path = self._shelf.resolve(text_of(rest))
        if self._shelf.mkdir(path):
            await self.say(b'257 "%b" created\r\n' % _bytes(path))
        else:
            await self.say("550 Create directory operation failed.\r\n")

    # -- data connections

    async def _active(self, verb: str, rest: bytes) -> None:
        wanted = wanted_address(verb, rest)
        if wanted is not None and wanted[0] != plain_address(self.source):
            host, port = wanted
            self.warn("tunneling_suspect", direction="ftp-bounce", dest_host=host, dest_port=port)
        await self.say(f"500 Illegal {verb} command.\r\n")

    async def _pasv(self, rest: bytes) -> None:
        own = plain_address(self._own)
        if ":" in own:
            await self.say("425 Use EPSV.\r\n")
        elif (port := self._listen()) is None:
            await self.say("425 Cannot open data connection.\r\n")
        else:
            numbers = ",".join((*own.split("."), str(port >> 8), str(port & 255)))
            await self.say(f"227 Entering Passive Mode ({numbers}).\r\n")

    async def _epsv(self, rest: bytes) -> None:
        if rest.upper() == b"ALL":
            await self.say("200 EPSV ALL ok.\r\n")
        elif (port := self._listen()) is None:
            await self.say("425 Cannot open data connection.\r\n")
        else:
            await self.say(f"229 Entering Extended Passive Mode (|||{port}|)\r\n")

    def _listen(self) -> int | None:
        self._drop_passive()
        with contextlib.suppress(OSError):
            self._passive = Passive(self._own.partition("%")[0], self.source, self._ports)
            return self._passive.port
        return None

    def _drop_passive(self) -> None:
        if self._passive is not None:
            self._passive.close()
            self._passive = None

    async def _send(self, data: bytes, opening: str) -> bool:
        """Send over the data connection; whether it arrived. Says so to the visitor."""
        passive, self._passive = self._passive, None
        if passive is None:
            await self.say("425 Use PORT or PASV first.\r\n")
            return False
        await self.say(f"150 {opening}\r\n")
        try:
            async with passive.connection() as connection:
                await connection.send(data)
        except (OSError, TimeoutError):
            await self.say("426 Failure writing network stream.\r\n")
            return False
        await self.say("226 Transfer complete.\r\n")
        return True

    async def _list(self, rest: bytes) -> None:
        # Options of ls come where the path should be.
        path = b"" if rest.startswith(b"-") else rest
        data = self._shelf.listing(self._shelf.resolve(text_of(path)))
        await self._send(_bytes(data), "Here comes the directory listing.")

    async def _nlst(self, rest: bytes) -> None:
        names = self._shelf.names(self._shelf.resolve(text_of(rest)))
        data = "".join(f"{name}\r\n" for name in names)
        await self._send(_bytes(data), "Here comes the directory listing.")

    async def _mlsd(self, rest: bytes) -> None:
        data = self._shelf.facts(self._shelf.resolve(text_of(rest)))
        await self._send(_bytes(data), "Here comes the directory listing.")

    async def _retr(self, rest: bytes) -> None:
        path = self._shelf.resolve(text_of(rest))
        data = self._shelf.read(path)
        self.tell("retr", path=path, size_bytes=None if data is None else len(data))
        if data is None:
            self._drop_passive()
            await self.say("550 Failed to open file.\r\n")
        else:
            await self._send(data, f"Opening BINARY mode data connection ({len(data)} bytes).")

    async def _stor(self, rest: bytes) -> None:
        path = self._shelf.resolve(text_of(rest))
        passive, self._passive = self._passive, None
        if passive is None:
            await self.say("425 Use PORT or PASV first.\r\n")
            return
        if not rest or not self._shelf.may_put(path):
            passive.close()
            await self.say("553 Could not create file.\r\n")
            return
        capture = self.house.captures.begin()
        try:
            await self.say("150 Ok to send data.\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                async with passive.connection() as connection:
                    while data := await connection.receive():
                        self.house.doorman.heard(self)
                        capture.write(data)
                        if capture.size_bytes > self.house.captures.most:
                            break
            capture.keep()
        finally:
            passive.close()
            capture.drop()
        self._shelf.put(path, capture.size_bytes)
        self.warn(
            "upload",
            filename=posixpath.basename(path),
            path=path,
            size_bytes=capture.size_bytes,
            sha256=capture.sha256,
            stored_as=capture.path,
            cut_short="true" if capture.truncated else None,
            user=self._user,
        )
        full = capture.size_bytes > self.house.captures.most
        await self.say("552 Disk full.\r\n" if full else "226 Transfer complete.\r\n")

    async def _stou(self, rest: bytes) -> None:
        await self._stor(f"unique.{secrets.token_hex(4)}".encode())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"")


Command = Callable[[FtpVisit, bytes], Awaitable[None]]
_OPEN: dict[str, Command] = {
    "USER": FtpVisit._user_name,
    "PASS": FtpVisit._password,
    "FEAT": FtpVisit._features,
}
_COMMANDS: dict[str, Command] = {
    **dict.fromkeys(("CWD", "XCWD"), FtpVisit._cwd),
    **dict.fromkeys(("CDUP", "XCUP"), FtpVisit._cdup),
    **dict.fromkeys(("PWD", "XPWD"), FtpVisit._pwd),
    **dict.fromkeys(("MKD", "XMKD"), FtpVisit._mkdir),
    **dict.fromkeys(("DELE", "RMD", "XRMD"), FtpVisit._delete),
    **dict.fromkeys(("STOR", "APPE"), FtpVisit._stor),
    "STOU": FtpVisit._stou,
    "SIZE": FtpVisit._size,
    "MDTM": FtpVisit._mdtm,
    "PASV": FtpVisit._pasv,
    "EPSV": FtpVisit._epsv,
    "LIST": FtpVisit._list,
    "NLST": FtpVisit._nlst,
    "MLSD": FtpVisit._mlsd,
    "RETR": FtpVisit._retr,
}
