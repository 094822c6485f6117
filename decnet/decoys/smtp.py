"""The smtp decoy: takes any mail, keeps it as it came, and delivers none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator

from decnet.decoys.captures import Capture
from decnet.decoys.house import House
from decnet.decoys.logins import Logins, logins_of
from decnet.decoys.looks import DOMAIN
from decnet.decoys.smtp_parse import (
    ADDRESS_MOST,
    Credential,
    MessageReader,
    base64_line,
    command,
    domain,
    path,
    plain,
    told_of,
)
from decnet.decoys.stream import CHUNK, BrokenRules, Visit, serve_visits, text_of
from decnet.settings import Reader

SERVICE = "smtp"
RCPT_MOST = 100
RCPT_TOLD = 20
MESSAGES_MOST = 20
ERRORS_MOST = 10
TRIES_MOST = 20
PARSED_MOST = 2 << 20
"""Bytes of a mail that are searched for its parts."""


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block.

    Raises:
        BadOption: DECNET_DECOY_SMTP_LOGINS cannot be read.
        SettingsError: DECNET_DECOY_SMTP_RELAY is neither true nor false.
    """
    logins = logins_of(SERVICE, os.environ)
    relays = Reader(os.environ).switch("DECOY_SMTP_RELAY", True)
    async with serve_visits(sock, house, lambda r, w: SmtpVisit(r, w, house, logins, relays)):
        yield


class SmtpVisit(Visit):
    """One connection.

    Args:
        relays: takes mail for anybody from anybody, as an open relay does.
    """

    FIRST_SECONDS = 60.0
    LINE_MOST = 2048

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        house: House,
        logins: Logins,
        relays: bool,
    ) -> None:
        super().__init__(reader, writer, house)
        self._logins = logins
        self._relays = relays
        self._helo = ""
        self._user = ""
        self._from: str | None = None
        self._to: list[str] = []
        self._errors = self._tries = self._messages = 0
        self._capture: Capture | None = None

    async def talk(self) -> None:
        """Commands until QUIT."""
        look = self.house.look
        await self.say(f"220 {look.fqdn} {look.smtp}\r\n")
        while (line := await self.line()) is not None:
            verb, rest = command(line)
            known = _VERBS.get(verb)
            if known is not None:
                await known(self, rest)
            else:
                self.tell("unknown_command", command=text_of(line[:512]))
                await self._wrong("500 5.5.2 Error: command not recognized")
            if verb == "QUIT":
                return
            if self._errors >= ERRORS_MOST:
                await self.say(f"421 4.7.0 {look.fqdn} Error: too many errors\r\n")
                return

    def over(self) -> None:
        """A mail that did not come to its end is not kept."""
        if self._capture is not None:
            self._capture.drop()

    def too_long(self) -> bytes:
        """As mail servers say it."""
        return b"500 5.5.2 Error: line too long\r\n"

    async def _wrong(self, text: str) -> None:
        self._errors += 1
        await self.say(f"{text}\r\n")

    # -- commands

    async def _ehlo(self, rest: bytes) -> None:
        self._helo = text_of(rest[:255])
        self._reset()
        self.tell("ehlo", helo=self._helo)
        size = f"SIZE {self.house.captures.most}"
        lines = (self.house.look.fqdn, "PIPELINING", size, "VRFY", "ETRN", "AUTH PLAIN LOGIN")
        await self.say("".join(f"250-{text}\r\n" for text in lines) + "250 8BITMIME\r\n")

    async def _hello(self, rest: bytes) -> None:
        self._helo = text_of(rest[:255])
        self._reset()
        self.tell("ehlo", helo=self._helo)
        await self.say(f"250 {self.house.look.fqdn}\r\n")

    async def _auth(self, rest: bytes) -> None:
        mechanism, _, first = rest.partition(b" ")
        answer = base64_line(first) if first else None
        found: Credential | None = None
        match mechanism.upper():
            case b"PLAIN":
                answer = answer if first else await self._ask("")
                found = plain(answer or b"")
            case b"LOGIN":
                user = answer if first else await self._ask("VXNlcm5hbWU6")
                secret = await self._ask("UGFzc3dvcmQ6") if user is not None else None
                if user is not None and secret is not None:
                    found = Credential(user, secret)
            case _:
                await self._wrong("535 5.7.8 Error: authentication failed: Invalid mechanism")
                return
        if found is None:
            await self._wrong("501 5.5.2 Error: authentication failed: malformed answer")
            return
        user_name, password = text_of(found.user[:256]), text_of(found.secret)
        accepted = self._logins.accepts(user_name, password)
        outcome = "accepted" if accepted else "refused"
        method = mechanism.decode("latin-1").lower()
        self.tell_secret(user_name, found.secret, outcome=outcome, method=method, helo=self._helo)
        self._tries += 1
        if accepted:
            self._user = user_name
            await self.say("235 2.7.0 Authentication successful\r\n")
        elif self._tries >= TRIES_MOST:
            raise BrokenRules("too many tries", b"421 4.7.0 Error: too many errors\r\n")
        else:
            await self.say("535 5.7.8 Error: authentication failed\r\n")

    async def _ask(self, question: str) -> bytes | None:
        """The decoded answer to a question; None where it is none, or "*"."""
        await self.say(f"334 {question}\r\n")
        line = await self.line()
        return None if line is None else base64_line(line)

    async def _mail(self, rest: bytes) -> None:
        address = path(rest)
        if address is None or not rest.upper().startswith(b"FROM"):
            await self._wrong("501 5.5.4 Syntax: MAIL FROM:<address>")
            return
        if self._from is not None:
            await self._wrong("503 5.5.1 Error: nested MAIL command")
            return
        self._from = address
        self.tell("mail_from", mail_from=address, helo=self._helo, principal=self._user)
        await self.say("250 2.1.0 Ok\r\n")

    async def _rcpt(self, rest: bytes) -> None:
        address = path(rest)
        if self._from is None:
            await self._wrong("503 5.5.1 Error: need MAIL command")
        elif not address or not rest.upper().startswith(b"TO"):
            await self._wrong("501 5.5.4 Syntax: RCPT TO:<address>")
        elif len(self._to) >= RCPT_MOST:
            await self._wrong("452 4.5.3 Error: too many recipients")
        elif not (self._relays or self._user or domain(address) in (DOMAIN, "")):
            self.tell("rcpt_denied", rcpt_to=address, mail_from=self._from)
            await self._wrong("554 5.7.1 Relay access denied")
        else:
            self._to.append(address)
            if len(self._to) <= RCPT_TOLD:
                self.tell("rcpt_to", rcpt_to=address, mail_from=self._from)
            await self.say("250 2.1.5 Ok\r\n")

    async def _data(self, rest: bytes) -> None:
        if not self._to:
            await self._wrong("503 5.5.1 Error: need RCPT command")
            return
        if self._messages >= MESSAGES_MOST:
            await self._wrong("452 4.3.1 Insufficient system storage")
            return
        await self.say("354 End data with <CR><LF>.<CR><LF>\r\n")
        capture = self._capture = self.house.captures.begin()
        await self._read_message(capture)
        self._messages += 1
        queue_id = secrets.token_hex(5).upper()
        known = told_of(capture.read(PARSED_MOST), capture.size_bytes)
        capture.keep()
        self.warn(
            "message_accepted",
            helo=self._helo,
            principal=self._user,
            mail_from=self._from,
            rcpt_to=",".join(self._to[:RCPT_TOLD]),
            rcpt_count=len(self._to),
            rcpt_domains=",".join(dict.fromkeys(filter(None, map(domain, self._to))))[:1024],
            queue_id=queue_id,
            size_bytes=capture.size_bytes,
            sha256=capture.sha256,
            stored_as=capture.path,
            cut_short="true" if capture.truncated else None,
            **known,
        )
        self._capture = None
        self._reset()
        exim = "Exim" in self.house.look.smtp
        await self.say(f"250 {'OK id=' if exim else '2.0.0 Ok: queued as '}{queue_id}\r\n")

    async def _read_message(self, capture: Capture) -> None:
        """Up to the line with a single dot, dots unstuffed.

        Raises:
            BrokenRules: longer than a capture may be.
            IncompleteReadError: the visitor went away.
        """
        reader = MessageReader()
        while not reader.is_over:
            data = await self.some(self.IDLE_SECONDS)
            if not data:
                raise asyncio.IncompleteReadError(b"", None)
            self.house.doorman.heard(self)
            capture.write(reader.feed(data))
            if capture.size_bytes > self.house.captures.most + CHUNK:
                raise BrokenRules("message too long", b"552 5.3.4 Error: message file too big\r\n")
        self.unread(reader.rest)

    async def _vrfy(self, rest: bytes) -> None:
        self.tell("vrfy", address=text_of(rest[:ADDRESS_MOST]))
        name = text_of(rest[:64]).encode("ascii", "replace").decode()
        await self.say(f"252 2.0.0 {name}\r\n")

    async def _starttls(self, rest: bytes) -> None:
        self.tell("command", command="STARTTLS")
        await self._wrong("454 4.7.0 TLS not available due to local problem")

    async def _rset(self, rest: bytes) -> None:
        self._reset()
        await self.say("250 2.0.0 Ok\r\n")

    async def _noop(self, rest: bytes) -> None:
        await self.say("250 2.0.0 Ok\r\n")

    async def _help(self, rest: bytes) -> None:
        await self.say("214 2.0.0 See the manual\r\n")

    async def _expn(self, rest: bytes) -> None:
        self.tell("vrfy", address=text_of(rest[:ADDRESS_MOST]), verb="EXPN")
        await self._wrong("502 5.5.1 Error: command not implemented")

    async def _quit(self, rest: bytes) -> None:
        await self.say("221 2.0.0 Bye\r\n")

    def _reset(self) -> None:
        self._from, self._to = None, []


_VERBS = {
    "EHLO": SmtpVisit._ehlo,
    "HELO": SmtpVisit._hello,
    "AUTH": SmtpVisit._auth,
    "MAIL": SmtpVisit._mail,
    "RCPT": SmtpVisit._rcpt,
    "DATA": SmtpVisit._data,
    "VRFY": SmtpVisit._vrfy,
    "EXPN": SmtpVisit._expn,
    "STARTTLS": SmtpVisit._starttls,
    "RSET": SmtpVisit._rset,
    "NOOP": SmtpVisit._noop,
    "HELP": SmtpVisit._help,
    "QUIT": SmtpVisit._quit,
}
