"""TLS of both sides: 1.2 or newer, only our own CA, both present a certificate.

The client checks the CA and that the certificate is a server's, not the name: a master is reached
by whatever address the network gives it. An agent's certificate is a client's only, so whoever
steals one cannot play the master.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decnet.context import WorkerError
from decnet.settings import EXIT_CONFIG, credential
from decnet.ship import ALPN

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What a machine may be called: it becomes part of file names."""
FILES = ("ca.crt", "worker.crt", "worker.key")


def client_context(bundle: Path) -> ssl.SSLContext:
    """For the forwarder.

    Raises:
        WorkerError: a file is missing or unusable; says how to make it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _load(context, bundle, "decnetctl ca issue NAME, and copy its three files here")


def server_context(bundle: Path) -> ssl.SSLContext:
    """For the listener.

    Raises:
        WorkerError: a file is missing or unusable; says how to make it.
    """
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), bundle, "decnetctl ca init")


def peer_name(certificate: Mapping[str, Any] | None) -> str:
    """The one common name in a peer's certificate; "" where it has none that can be used."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 and NAME.fullmatch(names[0]) else ""


def days_left(certificate: Mapping[str, Any] | None, now: float) -> int | None:
    """Days until a peer's certificate ends."""
    end = (certificate or {}).get("notAfter")
    return None if end is None else int((ssl.cert_time_to_seconds(end) - now) // 86_400)


def _load(context: ssl.SSLContext, bundle: Path, remedy: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    authority, certificate, key = (credential(name) or bundle / name for name in FILES)
    for file in (authority, certificate, key):
        if not file.exists():
            raise _unusable(f"there is no {file}", f"make it: {remedy}")
    mode = key.stat().st_mode
    if mode & 0o007:
        raise _unusable(f"{key} can be read by everybody", f"chmod 600 {key}")
    try:
        context.load_verify_locations(authority)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        text = getattr(error, "reason", None) or error.strerror or str(error)
        raise _unusable(f"the certificates in {bundle} are unusable: {text}", remedy) from error
    return context


def _unusable(text: str, hint: str) -> WorkerError:
    return WorkerError(
        text, code="certificates", hint=f"{hint}; or set DECNET_SHIP_DIR", exit_code=EXIT_CONFIG
    )
