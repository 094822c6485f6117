"""JA4S and JA4H: a TLS server by its choice, an HTTP client by its request. Made from their
published descriptions.

These two (not JA4 itself) are FoxIO's "JA4+", under the FoxIO License 1.1 and with patents
pending: free to use for one's own defence, not in a product that is sold. Nothing else depends
on this file but `decnet.packets.readers`.
"""

from __future__ import annotations

from decnet.packets.ja import EMPTY, alpn_ends, hex_list, short_hash, version_name
from decnet.packets.request import Request
from decnet.packets.tls import ServerHello


def ja4s(hello: ServerHello) -> str:
    """JA4S of an answer over TCP."""
    version = version_name(hello.chosen_version or hello.version)
    count = min(len(hello.extensions), 99)
    head = f"t{version}{count:02}{alpn_ends(hello.alpn)}"
    return f"{head}_{hello.cipher:04x}_{short_hash(hex_list(hello.extensions))}"


def ja4h(request: Request) -> str:
    """JA4H of a request."""
    names = [name for name, _ in request.headers]
    lower = [name.lower() for name in names]
    kept = [n for n in names if n.lower() not in ("cookie", "referer")]
    cookies = sorted(_cookies(request), key=lambda pair: pair[0])
    head = "".join(
        (
            request.method.lower()[:2],
            request.version.replace(".", "")[:2],
            "c" if "cookie" in lower else "n",
            "r" if "referer" in lower else "n",
            f"{min(len(kept), 99):02}",
            _language(request.header("accept-language")),
        )
    )
    return "_".join(
        (
            head,
            short_hash(",".join(kept)),
            short_hash(",".join(name for name, _ in cookies)) if cookies else EMPTY,
            short_hash(",".join(whole for _, whole in cookies)) if cookies else EMPTY,
        )
    )


def _cookies(request: Request) -> list[tuple[str, str]]:
    """Name and name=value of each cookie."""
    pairs = (pair.strip() for pair in request.header("cookie").split(";"))
    return [(pair.partition("=")[0].strip(), pair) for pair in pairs if pair]


def _language(value: str) -> str:
    first = value.replace("-", "").replace(";", ",").lower().split(",")[0][:4]
    return "".join(c if c.isascii() and c.isalnum() else "0" for c in first).ljust(4, "0")
