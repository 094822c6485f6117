"""One TCP connection: who, how fast, how clean, and its first bytes in both directions."""

from __future__ import annotations

from typing import Any

from decnet.packets.dissect import ACK, FIN, RST, SYN, Segment
from decnet.packets.settings import Place
from decnet.packets.stream import Stream

_WRAP = 1 << 32


def seconds(value: float) -> str:
    """To the microsecond, never with an exponent."""
    return f"{value:.6f}"


class Side:
    """One direction's figures."""

    __slots__ = ("bytes", "finished", "next", "packets", "retransmits", "stream")

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.retransmits = 0
        self.next: int | None = None
        self.finished = False
        self.stream = Stream()

    def add(self, segment: Segment) -> bool:
        """Count a segment; True where it brought bytes that were wanted."""
        self.packets += 1
        counted = segment.length + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        if segment.flags & SYN:
            self.stream.begin(segment.seq + 1)
        end = (segment.seq + counted) % _WRAP
        if counted and self.next is not None and (self.next - end) % _WRAP < _WRAP // 2:
            self.retransmits += 1
        elif counted:
            self.next = end
            self.bytes += segment.length
        self.finished = self.finished or bool(segment.flags & FIN)
        return self.stream.add(segment.seq, segment.payload)


class Flow:
    """A connection to one of our places, from its first packet that was seen."""

    def __init__(self, segment: Segment, place: Place, *, from_client: bool) -> None:
        s = segment
        self.place = place
        self.client, self.server = Side(), Side()
        if from_client:
            self.src, self.sport, self.dst, self.dport = s.src, s.sport, s.dst, s.dport
        else:
            self.src, self.sport, self.dst, self.dport = s.dst, s.dport, s.src, s.sport
        self.first = self.last = segment.time
        self.reset = False
        self.protocol = ""
        self.memory: dict[str, Any] = {}
        """What a reader keeps from one message to the next."""
        self._gaps = 0
        self._gap_sum = self._gap_squares = 0.0
        self._gap_least, self._gap_most = 0.0, 0.0
        self._last_data: float | None = None
        self._syn_ack: float | None = None
        self.rtt: float | None = None
        """Seconds from the SYN-ACK to the client's ACK, as seen from here."""

    def add(self, segment: Segment, *, from_client: bool) -> bool:
        """Count a segment; True where it brought bytes that were wanted."""
        self.last = max(self.last, segment.time)
        self.reset = self.reset or bool(segment.flags & RST)
        if from_client:
            self._time(segment)
        elif segment.flags & (SYN | ACK) == SYN | ACK:
            self._syn_ack = segment.time
        return (self.client if from_client else self.server).add(segment)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.reset or (self.client.finished and self.server.finished)

    @property
    def held(self) -> int:
        """Bytes kept of it."""
        return self.client.stream.size + self.server.stream.size

    def _time(self, segment: Segment) -> None:
        if self._syn_ack is not None and self.rtt is None and segment.flags & ACK:
            self.rtt = max(0.0, segment.time - self._syn_ack)
        if not segment.length:
            return
        if self._last_data is not None:
            gap = max(0.0, segment.time - self._last_data)
            self._gap_least = gap if not self._gaps else min(self._gap_least, gap)
            self._gap_most = max(self._gap_most, gap)
            self._gaps += 1
            self._gap_sum += gap
            self._gap_squares += gap * gap
        self._last_data = segment.time

    def figures(self) -> dict[str, object]:
        """Its timing as fields; times in seconds."""
        fields: dict[str, object] = {
            "duration_s": seconds(max(0.0, self.last - self.first)),
            "packets_in": self.client.packets,
            "packets_out": self.server.packets,
            "bytes_in": self.client.bytes,
            "bytes_out": self.server.bytes,
            "retransmits": self.client.retransmits,
            "retransmits_out": self.server.retransmits,
            "end": "reset" if self.reset else "closed" if self.is_over else "idle",
        }
        if self.rtt is not None:
            fields["rtt_s"] = seconds(self.rtt)
        if self._gaps:
            mean = self._gap_sum / self._gaps
            spread = max(0.0, self._gap_squares / self._gaps - mean * mean) ** 0.5
            fields["interarrival_mean_s"] = seconds(mean)
            fields["interarrival_stdev_s"] = seconds(spread)
            fields["interarrival_min_s"] = seconds(self._gap_least)
            fields["interarrival_max_s"] = seconds(self._gap_most)
        return fields
