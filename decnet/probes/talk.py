"""One port of one address: what its server says, by plain sockets. Every wait is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import NameOID

from decnet.collect.text import clean_bytes
from decnet.packets import ssh
from decnet.packets.tls import Malformed
from decnet.probes import jarm

BANNER_MOST = 512
SSH_MOST = 64 << 10
OUR_BANNER = b"SSH-2.0-OpenSSH_9.2p1\r\n"
"""A server that speaks second waits for one."""


class Closed(Exception):
    """Nobody listens there, or the way is barred."""


class Silent(Exception):
    """The port is open, and what the probe needs is not said there; the text says what."""


@dataclass(frozen=True)
class Result:
    """What a probe found.

    Args:
        probe: its name.
        event: the event's type.
        hash: what two results are compared by.
        fields: of the event.
    """

    probe: str
    event: str
    hash: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """How to connect: to whom, and with what patience in seconds."""

    ip: str
    port: int
    timeout: float
    gap: float


@contextlib.asynccontextmanager
async def connection(
    wire: Wire,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, aborted at the end.

    Raises:
        Closed: there is none to be had.
    """
    await asyncio.sleep(wire.gap)
    try:
        async with asyncio.timeout(wire.timeout):
            reader, writer = await asyncio.open_connection(wire.ip, wire.port, limit=SSH_MOST)
    except (OSError, TimeoutError) as error:
        raise Closed(str(error) or "no answer") from None
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def is_open(wire: Wire) -> bool:
    """Whether a connection can be made."""
    try:
        async with connection(wire):
            return True
    except Closed:
        return False


async def read_banner(wire: Wire) -> Result:
    """What a server says first.

    Raises:
        Closed, Silent: there is nothing.
    """
    async with connection(wire) as (reader, _):
        data = await _some(reader, BANNER_MOST, wire.timeout)
    if not data:
        raise Silent("says nothing first")
    text = clean_bytes(data.rstrip(b"\r\n"))[:BANNER_MOST]
    digest = hashlib.sha256(data).hexdigest()
    return Result("banner", "service_banner", digest, {"banner": text, "banner_sha256": digest})


async def read_hassh(wire: Wire) -> Result:
    """An SSH server's banner and key exchange offer.

    Raises:
        Closed, Silent: it is no SSH server.
    """
    data = b""
    async with connection(wire) as (reader, writer):
        writer.write(OUR_BANNER)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(wire.timeout):
                while len(data) < SSH_MOST:
                    more = await reader.read(4096)
                    data += more
                    if not more or _offer(data) is not None:
                        break
    found = _offer(data)
    if found is None:
        raise Silent("no SSH offer")
    banner, offer = found
    return Result(
        "hassh",
        "hassh_fingerprint",
        offer.hassh_server,
        {
            "hassh_server": offer.hassh_server,
            "hassh_server_algorithms": offer.server_text[:2048],
            "server_version": banner,
        },
    )


def _offer(data: bytes) -> tuple[str, ssh.Offer] | None:
    try:
        split = ssh.split_banner(data)
        offer = ssh.first_offer(split[1]) if split else None
    except Malformed as error:
        raise Silent(f"no SSH: {error}") from None
    return (split[0], offer) if split and offer else None


async def read_jarm(wire: Wire) -> Result:
    """The ten hellos, one connection each, one after the other.

    Raises:
        Closed: nobody listens. Silent: it is no TLS server.
    """
    answers: list[str] = []
    spoke = False
    for at, hello in enumerate(jarm.HELLOS):
        try:
            async with connection(wire) as (reader, writer):
                writer.write(jarm.build(hello, wire.ip))
                data = await _record(reader, wire.timeout)
            # An alert is an answer too: it may be willing to speak of TLS 1.3 only.
            spoke = spoke or data[:1] in (b"\x15", b"\x16")
            answers.append(jarm.answer(data))
        except Closed:
            if at == 0:
                raise
            answers.append(jarm.NO_ANSWER)
        if at == 2 and not spoke:
            raise Silent("no TLS")
    print_ = jarm.fingerprint(answers)
    if print_ == jarm.EMPTY:
        raise Silent("no TLS")
    return Result(
        "jarm", "jarm_fingerprint", print_, {"jarm": print_, "jarm_raw": ",".join(answers)[:2048]}
    )


async def read_certificate(wire: Wire) -> Result:
    """The leaf certificate, believed by nobody: its hash, and what it says of itself.

    Raises:
        Closed, Silent: it is no TLS server.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with contextlib.suppress(ssl.SSLError):
        context.set_ciphers("ALL:@SECLEVEL=0")  # an attacker's server may be old
    await asyncio.sleep(wire.gap)
    try:
        async with asyncio.timeout(wire.timeout):
            _, writer = await asyncio.open_connection(wire.ip, wire.port, ssl=context)
    except ssl.SSLError as error:
        raise Silent(f"no TLS: {error.reason}") from None
    except ConnectionRefusedError as error:
        raise Closed(str(error)) from None
    except (OSError, TimeoutError) as error:
        raise Silent(f"no TLS: {error or 'no answer'}") from None
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    if not der:
        raise Silent("no certificate")
    digest = hashlib.sha256(der).hexdigest()
    return Result("tls", "tls_certificate", digest, {"cert_sha256": digest, **describe(der)})


def describe(der: bytes) -> dict[str, str]:
    """What a certificate says of itself; {} where it cannot be read. Never raises."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        subject, issuer = certificate.subject, certificate.issuer
        return {
            "subject_cn": _common_name(subject),
            "issuer_cn": _common_name(issuer),
            "self_signed": "true" if subject == issuer else "false",
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
    except Exception:  # an attacker made it: whatever is wrong with it, its hash is what counts
        return {}


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value)[:256] if found else ""


async def _some(reader: asyncio.StreamReader, most: int, timeout: float) -> bytes:
    """What comes first, at most so much; b"" where nothing does."""
    try:
        async with asyncio.timeout(timeout):
            return await reader.read(most)
    except (OSError, TimeoutError):
        return b""


async def _record(reader: asyncio.StreamReader, timeout: float) -> bytes:
    """The first TLS record, or its beginning."""
    data = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout):
            while len(data) < jarm.ANSWER_MOST:
                more = await reader.read(jarm.ANSWER_MOST - len(data))
                data += more
                size = int.from_bytes(data[3:5], "big") + 5 if len(data) >= 5 else 5
                if not more or len(data) >= size or data[:1] != b"\x16":
                    break
    return data
