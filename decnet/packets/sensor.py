"""The sniffer without its socket: packets in, findings out. All of its memory is bounded."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

from decnet.packets.dissect import ACK, SYN, Segment, dissect
from decnet.packets.flow import Flow
from decnet.packets.readers import Finding, last_words, read_client, read_server, stop
from decnet.packets.recent import Budget, Recent
from decnet.packets.settings import Place, SnifferSettings
from decnet.packets.stack import Numbering, stack_print

FLOWS_MOST = 2048
HELD_MOST = 4 << 20
"""Bytes of all connections' first bytes together; then the oldest are let go."""
TOLD_MOST = 8192
SYNS_A_SECOND, SYNS_AT_ONCE = 20, 500
"""SYNs that are told of: a flood with forged addresses makes no attackers of them all."""
Key = tuple[str, int, str, int]
Emit = Callable[[str, Place, dict[str, object]], None]
"""Called with an event's type, the place that it is about, and its fields."""


class Sensor:
    """Follows connections and tells each thing once.

    Args:
        settings: the places, the times.
        emit: where findings go; must not raise.
    """

    def __init__(self, settings: SnifferSettings, emit: Emit) -> None:
        self._places = settings.places
        self._host = settings.host
        self._idle = settings.flow_idle
        self._emit = emit
        self._flows: OrderedDict[Key, Flow] = OrderedDict()
        self._held = 0
        self._told = Recent(settings.dedup, TOLD_MOST)
        self._numbering = Numbering()
        self._syns = Budget(SYNS_A_SECOND, SYNS_AT_ONCE)
        self.counts: Counter[str] = Counter()

    def health(self) -> dict[str, object]:
        """For the heartbeat."""
        return {"flows": len(self._flows), "held_bytes": self._held, **self.counts}

    def packet(self, data: bytes, time: float) -> None:
        """One packet, from its IP header on. Never raises, whatever is in it."""
        self.counts["packets"] += 1
        segment = dissect(data, time)
        if segment is None:
            self.counts["malformed"] += 1
            return
        from_client = segment.dport in self._places
        if from_client and segment.sport in self._places:
            # Both ends are ports of ours: a SYN's ACK flag tells; else whom we know already.
            from_client = not (segment.flags & SYN and segment.flags & ACK)
        elif not from_client and segment.sport not in self._places:
            return
        if self._host and self._host != (segment.dst if from_client else segment.src):
            return
        place = self._places[segment.dport if from_client else segment.sport]
        try:
            self._follow(segment, place, from_client)
        except Exception:
            # Nothing here should raise; if it does, one packet is lost and not the sniffer.
            self.counts["faults"] += 1

    def sweep(self, now: float) -> None:
        """End the connections that have been silent for long."""
        for key, flow in list(self._flows.items()):
            if now - flow.last < self._idle and flow.last <= now + self._idle:
                break  # the rest moved later
            self._end(key, flow)

    def close(self) -> None:
        """End them all."""
        for key, flow in list(self._flows.items()):
            self._end(key, flow)

    # -- below

    def _follow(self, segment: Segment, place: Place, from_client: bool) -> None:
        key = _key(segment, from_client)
        flow = self._flows.get(key)
        opens = from_client and segment.flags & (SYN | ACK) == SYN
        if flow is not None and opens and flow.is_over:
            self._end(key, flow)
            flow = None
        if opens:
            self._stack(segment, place)
        if flow is None:
            if not opens and not segment.length:
                return  # the last ACKs of what is over
            flow = self._flows[key] = Flow(segment, place, from_client=from_client)
        else:
            self._flows.move_to_end(key)
        before = flow.held
        if flow.add(segment, from_client=from_client):
            reader = read_client if from_client else read_server
            self._tell(flow, reader(flow))
            if from_client and flow.protocol == "tls" and flow.server.stream.data:
                self._tell(flow, read_server(flow))
        self._held += flow.held - before
        if flow.is_over:
            self._end(key, flow)
        self._bound()

    def _stack(self, segment: Segment, place: Place) -> None:
        found = stack_print(segment)
        fields: dict[str, object] = {
            "src_ip": segment.src,
            "dst_ip": segment.dst,
            "dst_port": segment.dport,
            "service": place.service,
            "signature": found.signature,
            "tcp_hash": found.hash,
            "os_guess": found.os_guess,
            "ttl": segment.ttl,
            "initial_ttl": found.initial_ttl,
            "hop_distance": found.hops,
            "window": found.window,
            "window_scale": found.window_scale if found.window_scale >= 0 else None,
            "mss": found.mss or None,
            "options": found.layout,
        }
        classes = self._numbering.add(segment)
        if classes is not None:
            fields["ip_id_class"], fields["isn_class"] = classes
        key = ("tcp_syn_fingerprint", segment.src, segment.dport, found.hash, classes)
        if not self._told.is_new(key, segment.time):
            return
        if not self._syns.take(segment.time):
            self.counts["syns_not_told"] += 1
            return
        self.counts["findings"] += 1
        self._emit("tcp_syn_fingerprint", place, fields)

    def _tell(self, flow: Flow, findings: Iterable[Finding]) -> None:
        for finding in findings:
            key = (finding.type, flow.src, flow.dport, finding.key)
            if self._told.is_new(key, flow.last):
                self.counts["findings"] += 1
                self._emit(finding.type, flow.place, {**_ends(flow), **finding.fields})

    def _end(self, key: Key, flow: Flow) -> None:
        self._tell(flow, last_words(flow))
        del self._flows[key]
        self._held -= flow.held
        stop(flow)
        # A scan of closed ports or an ended handshake has no rhythm to tell of.
        if flow.client.bytes or flow.server.bytes:
            self.counts["findings"] += 1
            self._emit("tcp_flow_timing", flow.place, {**_ends(flow), **flow.figures()})

    def _bound(self) -> None:
        while len(self._flows) > FLOWS_MOST or (self._held > HELD_MOST and self._flows):
            key, flow = next(iter(self._flows.items()))
            self.counts["flows_dropped"] += 1
            self._end(key, flow)


def _key(segment: Segment, from_client: bool) -> Key:
    s = segment
    ends = (s.src, s.sport, s.dst, s.dport)
    return ends if from_client else (s.dst, s.dport, s.src, s.sport)


def _ends(flow: Flow) -> dict[str, object]:
    return {
        "src_ip": flow.src,
        "src_port": flow.sport,
        "dst_ip": flow.dst,
        "dst_port": flow.dport,
        "service": flow.place.service,
    }
