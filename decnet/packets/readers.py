"""What is to be learnt of a connection's first bytes: each protocol's reader yields findings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from decnet.packets import ja, request, ssh, tls
from decnet.packets.flow import Flow, seconds
from decnet.packets.tls import Malformed

TEXT_MOST = 2048


class Finding(NamedTuple):
    """An event's type, its fields, and what makes two of them the same."""

    type: str
    fields: dict[str, object]
    key: object


def read_client(flow: Flow) -> Iterator[Finding]:
    """Findings in what the client sent so far."""
    stream = flow.client.stream
    try:
        data = bytes(stream.data)
        if not flow.protocol:
            flow.protocol = _recognise(data)
        if flow.protocol == "tls":
            yield from _client_hello(flow, data)
        elif flow.protocol == "ssh":
            yield from _ssh_client(flow, data)
        elif flow.protocol == "http":
            yield from _http(flow, data)
        elif flow.protocol == "other":
            stop(flow)
        if flow.client.stream.is_full():
            stop(flow)
    except Malformed:
        stop(flow)


def read_server(flow: Flow) -> Iterator[Finding]:
    """Findings in what our own side sent so far: only TLS is of interest."""
    if flow.protocol not in ("", "tls"):
        flow.server.stream.close()
    if flow.protocol != "tls":
        if flow.server.stream.is_full():
            flow.server.stream.close()
        return
    try:
        yield from _server_hello(flow, bytes(flow.server.stream.data))
        if flow.server.stream.is_full():
            flow.server.stream.close()
    except Malformed:
        flow.server.stream.close()


def stop(flow: Flow) -> None:
    """Keep no more bytes of it."""
    flow.client.stream.close()
    flow.server.stream.close()


def _recognise(data: bytes) -> str:
    if tls.is_tls(data):
        return "tls" if len(data) >= 6 else ""
    if ssh.is_ssh(data):
        return "ssh" if len(data) >= 4 else ""
    if request.is_request(data):
        return "http"
    return "other" if len(data) >= 4 else ""


def _client_hello(flow: Flow, data: bytes) -> Iterator[Finding]:
    for kind, body in tls.messages(data):
        if kind != tls.CLIENT_HELLO:
            raise Malformed("no ClientHello")
        hello = tls.client_hello(body)
        flow.client.stream.close()
        flow.memory["offered_session"] = hello.session_id
        text = ja.ja3_text(hello)
        print_ = ja.ja4(hello)
        yield Finding(
            "tls_client_hello",
            {
                "ja3": ja.md5(text),
                "ja3_raw": text[:TEXT_MOST],
                "ja4": print_,
                "ja4_raw": ja.ja4_raw(hello)[:TEXT_MOST],
                "sni": hello.server_name,
                "alpn": ",".join(name.decode("latin-1") for name in hello.alpn)[:256],
                "tls_version": ja.version_name(max(_known(hello.versions), default=hello.version)),
            },
            (ja.md5(text), print_, hello.server_name),
        )
        return


def _known(versions: tuple[int, ...]) -> list[int]:
    return [v for v in versions if not ja.is_grease(v)]


def _server_hello(flow: Flow, data: bytes) -> Iterator[Finding]:
    for at, (kind, body) in enumerate(tls.messages(data)):
        if kind == tls.SERVER_HELLO and "ja3s" not in flow.memory:
            hello = tls.server_hello(body)
            version = hello.chosen_version or hello.version
            offered = flow.memory.get("offered_session", b"")
            ja3s = flow.memory["ja3s"] = ja.md5(ja.ja3s_text(hello))
            fields: dict[str, object] = {
                "ja3s": ja3s,
                "tls_version": ja.version_name(version),
                "cipher": f"{hello.cipher:04x}",
                "alpn": hello.alpn.decode("latin-1")[:64],
            }
            if version < 0x0304:  # 1.3 echoes the id always, to look like a resumption
                fields["resumed"] = bool(offered) and hello.session_id == offered
            if flow.rtt is not None:
                fields["rtt_s"] = seconds(flow.rtt)
            yield Finding("tls_session", fields, (ja3s, flow.dport))
            if version >= 0x0304:  # the certificate is encrypted
                flow.server.stream.close()
                return
        elif kind == tls.CERTIFICATE:
            leaf = tls.leaf_certificate(body)
            flow.server.stream.close()
            digest = hashlib.sha256(leaf).hexdigest()
            fields = {"cert_sha256": digest, "cert_bytes": len(leaf)}
            yield Finding("tls_certificate", fields, (digest, flow.dport))
            return
        elif at > 4:
            flow.server.stream.close()
            return


def _ssh_client(flow: Flow, data: bytes) -> Iterator[Finding]:
    split = ssh.split_banner(data)
    if split is None:
        return
    banner, rest = split
    offer = ssh.first_offer(rest)
    if offer is None:
        flow.memory["banner"] = banner
        return
    stop(flow)
    yield Finding(
        "ssh_client_banner",
        {
            "client_version": banner,
            "hassh": offer.hassh,
            "hassh_algorithms": offer.client_text[:TEXT_MOST],
            "kex_order": offer.kex[:TEXT_MOST],
        },
        (banner, offer.hassh),
    )


def last_words(flow: Flow) -> Iterator[Finding]:
    """What is known of a connection that ended before it said all: a banner without an offer."""
    banner = flow.memory.get("banner")
    if banner and flow.client.stream.is_open:
        yield Finding("ssh_client_banner", {"client_version": banner}, (banner, ""))


def _http(flow: Flow, data: bytes) -> Iterator[Finding]:
    head = request.parse_head(data)
    if head is None:
        if b"\r\n\r\n" in data:
            stop(flow)
        return
    stop(flow)
    print_ = request.header_print(head)
    agent = head.header("user-agent")
    yield Finding(
        "http_request_fingerprint",
        {
            "header_print": print_,
            "method": head.method,
            "http_version": head.version,
            "user_agent": agent[:512],
            "header_order": ",".join(name for name, _ in head.headers)[:TEXT_MOST],
        },
        (print_, agent),
    )
