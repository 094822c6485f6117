"""A TCP/IP stack by its first packet: a signature in the style of p0f, and a guess at the system.

    4:64+0:1460:mss*45,7:mss,sok,ts,nop,ws:df,id+
    version : first TTL + hops : MSS : window, scale : options : quirks

The guesses are from what the systems are known to send; they are ours, and few.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from decnet.packets.dissect import CWR, ECE, PSH, SYN, URG, Segment
from decnet.packets.ja import short_hash

SAMPLES = 8
"""SYNs of an address that tell how it numbers its packets and sequences."""
SOURCES_MOST = 4096
_INITIAL_TTLS = (32, 64, 128, 255)
_OPTION_NAMES = {
    "MSS": "mss",
    "SAckOK": "sok",
    "Timestamp": "ts",
    "NOP": "nop",
    "WScale": "ws",
    "EOL": "eol",
    "SAck": "sack",
    "TFO": "tfo",
    "MD5": "md5",
}
_LAYOUTS = {
    ("mss,sok,ts,nop,ws", 64): "Linux",
    ("mss,nop,ws,nop,nop,sok", 128): "Windows",
    ("mss,nop,ws,sok,ts", 128): "Windows",
    ("mss,nop,nop,sok", 128): "Windows",
    ("mss,nop,ws,nop,nop,ts,sok,eol", 64): "macOS or iOS",
    ("mss,nop,ws,sok,ts", 64): "FreeBSD",
    ("mss,nop,nop,sok,nop,ws,nop,nop,ts", 64): "OpenBSD",
    ("mss,nop,ws,sok,nop,nop,ts", 64): "NetBSD",
}
_SCANNERS = {
    ("mss", 1024): "nmap",
    ("mss", 2048): "nmap",
    ("mss", 3072): "nmap",
    ("mss", 4096): "nmap",
    ("", 1024): "masscan",
    ("", 65535): "zmap",
    ("mss", 65535): "zmap",
}
"""Raw SYNs that no system's own stack makes: option layout and window."""


@dataclass(frozen=True)
class StackPrint:
    """What a SYN, or a SYN-ACK, says of the stack that made it."""

    signature: str
    os_guess: str
    initial_ttl: int
    hops: int
    mss: int
    window: int
    window_scale: int
    layout: str

    @property
    def hash(self) -> str:
        """Short, the same for the same stack at any distance."""
        version, _, rest = self.signature.split(":", 2)
        return short_hash(f"{version}:{self.initial_ttl}:{rest}")


def stack_print(segment: Segment) -> StackPrint:
    """Read a SYN or SYN-ACK."""
    values = dict(reversed(segment.options))
    mss, scale = _number(values.get("MSS")), _number(values.get("WScale"), -1)
    layout = ",".join(_name(option) for option in segment.options[:40])
    initial = initial_ttl(segment.ttl)
    hops = initial - segment.ttl
    window = str(segment.window)
    if mss > 0 and segment.window and segment.window % mss == 0:
        window = f"mss*{segment.window // mss}"
    signature = ":".join(
        (
            str(segment.version),
            f"{initial}+{hops}",
            str(mss),
            f"{window},{scale if scale >= 0 else '*'}",
            layout,
            ",".join(_quirks(segment, values)),
        )
    )
    guess = _SCANNERS.get((layout, segment.window)) or _LAYOUTS.get((layout, initial), "")
    return StackPrint(signature, guess, initial, hops, mss, segment.window, scale, layout)


def initial_ttl(ttl: int) -> int:
    """The TTL that a packet set out with: the next of those that systems use."""
    return next(initial for initial in _INITIAL_TTLS if ttl <= initial)


class Numbering:
    """How addresses number their packets (IP-ID) and their connections (ISN). Bounded."""

    def __init__(self, most: int = SOURCES_MOST) -> None:
        self._most = most
        self._samples: OrderedDict[str, deque[tuple[int, int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, segment: Segment) -> tuple[str, str] | None:
        """One more SYN; the classes of IP-ID and ISN when there are enough samples, then None."""
        samples = self._samples.setdefault(segment.src, deque(maxlen=SAMPLES))
        self._samples.move_to_end(segment.src)
        while len(self._samples) > self._most:
            self._samples.popitem(last=False)
        samples.append((segment.ip_id, segment.seq))
        if len(samples) < SAMPLES:
            return None
        classes = classify([i for i, _ in samples], 16), classify([s for _, s in samples], 32)
        samples.clear()
        return classes


def classify(numbers: Sequence[int], bits: int) -> str:
    """How a series of numbers was made: zero, constant, incremental or random.

    Args:
        numbers: two or more, in order.
        bits: their width; they wrap.
    """
    if not any(numbers):
        return "zero"
    if len(set(numbers)) == 1:
        return "constant"
    steps = [(b - a) % (1 << bits) for a, b in itertools.pairwise(numbers)]
    # A counter moves on by little against the whole range, each time.
    return "incremental" if max(steps) < 1 << (bits - 5) else "random"


def _name(option: tuple[Any, ...]) -> str:
    return _OPTION_NAMES.get(option[0]) or f"?{str(option[0])[:8]}"


def _number(value: Any, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def _quirks(segment: Segment, values: dict[str, Any]) -> list[str]:
    """What is out of the ordinary, or a habit of some stacks."""
    stamp = values.get("Timestamp")
    own, peer = stamp if isinstance(stamp, tuple) and len(stamp) == 2 else (1, 0)
    checks = {
        "df": segment.version == 4 and segment.dont_fragment,
        "id+": segment.version == 4 and segment.dont_fragment and segment.ip_id != 0,
        "id-": segment.version == 4 and not segment.dont_fragment and segment.ip_id == 0,
        "ecn": bool(segment.flags & (ECE | CWR)),
        "seq-": segment.seq == 0,
        "ack+": segment.ack != 0 and segment.flags & (SYN | 0x10) == SYN,
        "psh": bool(segment.flags & PSH),
        "urg": bool(segment.flags & URG),
        "ts1-": own == 0,
        "ts2+": peer != 0 and not segment.flags & 0x10,
        "data": segment.length > 0,
    }
    return [name for name, holds in checks.items() if holds]
