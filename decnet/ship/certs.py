"""The own certificate authority: made once, and a certificate for each machine.

    FOLDER/ca/ca.crt ca.key         the authority; ca.key never leaves this machine
    FOLDER/master/                  the listener's bundle: ca.crt worker.crt worker.key
    FOLDER/agent/                   this machine's forwarder's
    FOLDER/issued/NAME/             to be copied to the machine NAME

EC keys on P-256. Nothing here is imported by a worker.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from decnet.ship.tls import NAME
from zygote.errors import ZygoteError

CA_DAYS = 3650
WORKER_DAYS = 825
BACKDATED = dt.timedelta(hours=1)
"""Clocks differ."""


class AuthorityError(ZygoteError):
    """The authority is missing, unreadable, or asked for what it does not give."""


@dataclass(frozen=True)
class Authority:
    """The key and certificate that sign all others."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def init(folder: Path, *, with_agent: bool = False) -> bool:
    """Make the authority and the listener's bundle; False where they are there already.

    Args:
        folder: DECNET_SHIP_DIR.
        with_agent: a bundle for this machine's own forwarder, too.
    Raises:
        AuthorityError: the folder cannot be written.
    """
    if (folder / "ca" / "ca.key").exists():
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DECNET CA")])
    usage = {"key_cert_sign": True, "crl_sign": True}
    builder = (
        _builder(name, key, CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(**usage), critical=True)
    )
    authority = Authority(key, builder.sign(key, hashes.SHA256()))
    try:
        # The key last: as long as it is missing, an interrupted start is begun again.
        _write(folder / "ca" / "ca.crt", _pem(authority.certificate), 0o644)
        _bundle(authority, folder / "master", "master", is_server=True)
        if with_agent:
            _bundle(authority, folder / "agent", own_name(), is_server=False)
        _write(folder / "ca" / "ca.key", _key_pem(key), 0o600)
    except OSError as error:
        raise AuthorityError(
            f"cannot write {error.filename or folder}: {error.strerror}",
            hint="set DECNET_SHIP_DIR to a folder that this user may write to",
        ) from error
    return True


def issue(folder: Path, name: str, *, is_server: bool = False, out: Path | None = None) -> Path:
    """A bundle for the machine `name`; gives its folder. A second one replaces the first.

    Raises:
        AuthorityError: there is no authority, or that is no name.
    """
    if not NAME.fullmatch(name):
        raise AuthorityError(
            f"{name!r} is no name for a machine",
            hint="letters, digits, '.', '_' and '-', at most 64, a letter or digit first",
        )
    target = out or folder / "issued" / name
    try:
        authority = _read(folder / "ca")
        _bundle(authority, target, name, is_server=is_server)
    except FileNotFoundError as error:
        raise AuthorityError(
            f"there is no certificate authority in {folder}",
            hint="make it: decnetctl ca init (DECNET_SHIP_DIR says where)",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise AuthorityError(f"cannot issue a certificate for {name}: {error}") from error
    return target


def own_name() -> str:
    """What this machine's own forwarder is called: its host name, as far as it is a name."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in _host())
    return safe.lstrip("._-")[:64] or "local"


def _host() -> str:
    return socket.gethostname()


def _bundle(authority: Authority, target: Path, name: str, *, is_server: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    signer = authority.certificate
    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(subject, key, WORKER_DAYS)
        .issuer_name(signer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    _write(target / "ca.crt", _pem(signer), 0o644)
    _write(target / "worker.crt", _pem(certificate), 0o644)
    _write(target / "worker.key", _key_pem(key), 0o600)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read(folder: Path) -> Authority:
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder / 'ca.key'} is no EC key")
    return Authority(key, x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """The whole file or none of it, never readable by more than `mode` says."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)  # noqa: PTH101
        os.replace(draft, path)  # noqa: PTH105
    except BaseException:
        os.unlink(draft)  # noqa: PTH108
        raise
