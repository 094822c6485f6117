"""The sniffer without its socket: filter, streams, stacks, flows, and what attackers may send."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from decnet.packets import bpf, sensor
from decnet.packets.dissect import dissect
from decnet.packets.recent import Recent
from decnet.packets.rehearsal import PORT, client_hello, conversations, server_hello, visit
from decnet.packets.sensor import Sensor
from decnet.packets.settings import Place, SnifferSettings
from decnet.packets.stack import SAMPLES, Numbering, classify, stack_print
from decnet.packets.stream import HEAD_MOST, Stream
from decnet.settings import SettingsError

SYN: Any = {"sport": 40000, "dport": PORT, "flags": "S"}
PLACES = {PORT: Place("decky-01", "ssh")}
LINUX = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
WINDOWS = [("MSS", 1460), ("NOP", None), ("WScale", 8), *[("NOP", None)] * 2, ("SAckOK", b"")]


class Told:
    """A sensor and what it said."""

    def __init__(self, **options: Any) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self.sensor = Sensor(SnifferSettings(places=PLACES, **options), self._emit)

    def _emit(self, kind: str, place: Place, fields: dict[str, object]) -> None:
        assert place in PLACES.values()
        self.events.append((kind, fields))

    def see(self, *packets: Any, time: float = 1e9) -> None:
        for packet in packets:
            self.sensor.packet(bytes(packet), time)

    def of(self, kind: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.events if name == kind]


def passes(program: list[bpf.Step], packet: bytes, kind: int = 0) -> bool:
    """What the kernel does with a program: an interpreter of the few codes that we use."""
    a = x = at = 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        try:
            if code == bpf.RET_K:
                return k > 0
            if code == bpf.LD_B_ABS:
                a = kind if k == bpf.PACKET_TYPE else packet[k]
            elif code == bpf.LD_H_ABS:
                a = packet[k] << 8 | packet[k + 1]
            elif code == bpf.LD_H_IND:
                a = packet[x + k] << 8 | packet[x + k + 1]
            elif code == bpf.LDX_IMM:
                x = k
            elif code == bpf.LDX_MSH:
                x = 4 * (packet[k] & 0xF)
            elif code == bpf.AND_K:
                a &= k
            elif code == bpf.JA:
                at += k
            else:
                holds = {
                    bpf.JEQ: a == k, bpf.JGT: a > k, bpf.JGE: a >= k, bpf.JSET: bool(a & k)
                }  # fmt: skip
                at += jt if holds[code] else jf
        except IndexError:
            return False


@given(
    st.sets(st.integers(1, 65535), max_size=300),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.sampled_from(["v4", "v4 options", "v6", "udp", "fragment"]),
    st.booleans(),
)
def test_sensor_filter_passes_tcp_of_its_ports_only(
    ports: set[int], sport: int, dport: int, shape: str, near: bool
) -> None:
    if near and ports:  # hits and their neighbours
        dport = min(65535, max(ports) + (sport % 3) - 1)
    ends = {"sport": sport, "dport": dport}
    head: Any = {
        "v4": IP(), "v4 options": IP(ihl=7, options=b"\x01" * 8), "v6": IPv6(),
        "udp": IP(proto=17), "fragment": IP(frag=5),
    }[shape]  # fmt: skip
    packet = bytes(head) + bytes(TCP(**ends))
    if shape in ("v4", "v4 options"):
        packet = packet[:9] + b"\x06" + packet[10:]
    elif shape == "v6":
        packet = packet[:6] + b"\x06" + packet[7:]
    wanted = shape.startswith("v") and bool(ports & {sport, dport})
    assert passes(bpf.tcp_ports(ports), packet) == wanted
    assert not passes(bpf.tcp_ports(ports, outgoing=False), packet, bpf.OUTGOING)
    assert passes(bpf.tcp_ports(ports, outgoing=False), packet, 0) == wanted


def test_sensor_filter_is_taken_by_the_kernel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for ports in (set(), {1}, set(range(2, 2002, 2)), set(range(1, 60000))):
            bpf.attach(sock, bpf.tcp_ports(ports))


@given(
    st.binary(min_size=1, max_size=400), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 60)),
    st.randoms(),
)  # fmt: skip
def test_sensor_stream_is_the_same_however_it_comes(
    data: bytes, first: int, cuts: list[int], chance: Any
) -> None:
    """Cut anywhere, doubled, overlapping, and swapped within reason; over the wrap of numbers."""
    edges = [0, *[e for e in itertools.accumulate(cuts) if e < len(data)], len(data)]
    parts = [(a, data[a : b + chance.randint(0, 5)]) for a, b in itertools.pairwise(edges)]
    for at in range(0, len(parts) - 1, 2):
        if chance.random() < 0.5:
            parts[at], parts[at + 1] = parts[at + 1], parts[at]
    parts += [part for part in parts if chance.random() < 0.3]
    stream = Stream()
    stream.begin(first)
    for at, part in parts:
        stream.add((first + at) % 2**32, part)
    assert bytes(stream.data) == data


def test_sensor_stream_is_bounded() -> None:
    stream = Stream()
    for at in range(100):
        stream.add(at * 1400 + (50_000 if at % 2 else 0), b"x" * 1400)
        assert stream.size <= HEAD_MOST * 2
    stream.close()
    assert stream.size == 0 and not stream.add(0, b"x")


def test_sensor_tells_each_kind_once_per_address() -> None:
    told = Told()
    for again in range(3):
        for at, (client, server) in enumerate(conversations()):
            told.see(*visit(again * 10 + at, client, server))
    kinds = [kind for kind, _ in told.events if kind != "tcp_flow_timing"]
    assert sorted(kinds) == [
        "http_request_fingerprint", "ssh_client_banner", "tcp_syn_fingerprint",
        "tcp_syn_fingerprint", "tls_certificate", "tls_client_hello", "tls_session",
    ]  # fmt: skip
    assert len(told.of("tcp_flow_timing")) == 12
    assert all(fields["src_ip"] == "192.0.2.9" for _, fields in told.events)
    # The second SYN print is of the eight samples: then it is known how they are numbered.
    assert "isn_class" in told.of("tcp_syn_fingerprint")[1]


def test_sensor_follows_only_connections_to_the_decoys_address() -> None:
    told = Told(host="192.0.2.1")
    told.see(*visit(1, client_hello(), server_hello()))
    assert len(told.of("tls_session")) == 1
    other = Told(host="192.0.2.7")
    other.see(*visit(1, client_hello(), server_hello()))
    other.sensor.close()
    assert other.events == []


def test_sensor_reads_v6_and_forgets_after_the_time() -> None:
    told = Told(dedup=300)
    told.see(*visit(1, client_hello(), server_hello(), v6=True))
    told.see(*visit(1, client_hello(), server_hello(), v6=True), time=1e9 + 299)
    assert len(told.of("tls_session")) == 1
    told.see(*visit(1, client_hello(), server_hello(), v6=True), time=1e9 + 301)
    assert len(told.of("tls_session")) == 2
    assert told.of("tls_session")[0]["src_ip"] == "2001:db8::2:1"


def test_sensor_flow_timing() -> None:
    told = Told(flow_idle=10)
    up: Any = {"sport": 40000, "dport": PORT, "flags": "PA"}
    ip = IP(src="192.0.2.9", dst="192.0.2.1")
    told.see(ip / TCP(**SYN, seq=99))
    down = IP(src="192.0.2.1", dst="192.0.2.9") / TCP(sport=PORT, dport=40000, flags="SA", seq=7)
    told.see(down, time=1e9 + 0.1)
    for number, time in enumerate((1.0, 2.0, 4.0)):
        told.see(ip / TCP(**up, seq=100 + number * 4, ack=8) / b"data", time=1e9 + time)
    told.see(ip / TCP(**up, seq=108, ack=8) / b"data", time=1e9 + 5)
    told.sensor.sweep(1e9 + 14.9)
    assert not told.of("tcp_flow_timing")
    told.sensor.sweep(1e9 + 15.1)
    (flow,) = told.of("tcp_flow_timing")
    wanted = {
        "end": "idle", "retransmits": 1, "bytes_in": 12, "packets_in": 5, "packets_out": 1,
        "duration_s": "5.000000", "rtt_s": "0.900000", "interarrival_mean_s": "1.333333",
        "interarrival_min_s": "1.000000", "interarrival_max_s": "2.000000",
    }  # fmt: skip
    assert wanted.items() <= flow.items()


@pytest.mark.parametrize(
    ("packet", "guess", "hops"),
    [
        (IP(ttl=52) / TCP(window=64240, options=LINUX, **SYN), "Linux", 12),
        (IP(ttl=117) / TCP(window=64240, options=WINDOWS, **SYN), "Windows", 11),
        (IP(ttl=40) / TCP(window=1024, options=LINUX[:1], **SYN), "nmap", 24),
        (IP(ttl=250) / TCP(window=65535, **SYN), "zmap", 5),
        (IP(ttl=250) / TCP(window=1, **SYN), "", 5),
    ],
)
def test_sensor_stack_guess(packet: Any, guess: str, hops: int) -> None:
    segment = dissect(bytes(packet), 0.0)
    assert segment is not None
    found = stack_print(segment)
    assert (found.os_guess, found.hops) == (guess, hops)


def test_sensor_stack_hash_does_not_know_the_distance() -> None:
    near, far = (dissect(bytes(IP(ttl=ttl) / TCP(options=LINUX, **SYN)), 0.0) for ttl in (64, 50))
    assert near and far and stack_print(near).hash == stack_print(far).hash


@pytest.mark.parametrize(
    ("series", "name"),
    [
        ([0] * 8, "zero"),
        ([7] * 8, "constant"),
        ([65530, 65534, 2, 9, 11, 12, 20, 30], "incremental"),
        ([5, 60000, 31000, 200, 45000, 9, 33000, 1], "random"),
    ],
)
def test_sensor_numbering_classes(series: list[int], name: str) -> None:
    assert classify(series, 16) == name


def test_sensor_flood_of_forged_addresses_is_not_all_told() -> None:
    told = Told()
    for number in range(1000):
        ip = IP(src=f"10.1.{number // 250}.{number % 250}", dst="192.0.2.1")
        told.see(ip / TCP(**SYN, seq=number), time=1e9 + number / 500)
    assert len(told.events) == sensor.SYNS_AT_ONCE + 2 * sensor.SYNS_A_SECOND - 1
    assert told.sensor.counts["syns_not_told"] == 1000 - len(told.events)


def test_sensor_maps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "FLOWS_MOST", 50)
    monkeypatch.setattr(sensor, "HELD_MOST", 4000)
    told = Told()
    for number in range(400):
        ip = IP(src=f"10.0.{number // 250}.{number % 250}", dst="192.0.2.1")
        told.see(ip / TCP(**SYN, seq=1))
        told.see(ip / TCP(sport=40000, dport=PORT, flags="PA", seq=2) / (b"\x16\x03" + b"x" * 400))
        health = told.sensor.health()
        assert int(str(health["flows"])) <= 50 and int(str(health["held_bytes"])) <= 4000
    assert told.sensor.counts["flows_dropped"]
    told.sensor.close()
    assert told.sensor.health()["held_bytes"] == 0
    recent = Recent(10, 5)
    assert [recent.is_new(n % 7, 0.0) for n in range(14)] == [True] * 14
    assert len(recent) == 5
    numbering = Numbering(3)
    segment = dissect(bytes(IP() / TCP(**SYN)), 0.0)
    assert segment is not None
    for number in range(10):
        numbering.add(segment._replace(src=str(number)))
    assert len(numbering) == 3
    assert [numbering.add(segment) is not None for _ in range(SAMPLES)] == [False] * 7 + [True]


PACKETS = [p for c, s in conversations() for v6 in (0, 1) for p in visit(1, c, s, v6=bool(v6))]


@settings(max_examples=60)
@given(st.data())
def test_sensor_survives_whatever_is_in_a_packet(data: Any) -> None:
    told = Told()
    for _ in range(20):
        packet = bytearray(data.draw(st.sampled_from(PACKETS)))
        for _ in range(data.draw(st.integers(0, 4))):
            packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
        told.see(bytes(packet[: data.draw(st.integers(0, len(packet)))]))
        told.see(data.draw(st.binary(max_size=80)))
    told.sensor.close()
    assert told.sensor.counts["faults"] == 0
    assert told.sensor.health()["held_bytes"] == 0


def test_sensor_settings() -> None:
    made = SnifferSettings.from_env({"DECNET_DECOY_HTTP_PORT": "0", "DECNET_SNIFFER_DECKIES": "2"})
    assert made.places[2322] == Place("decky-02", "ssh")
    assert made.host == "127.0.0.1"
    everywhere = {"DECNET_DECOY_HOST": "0.0.0.0"}, {"DECNET_SNIFFER_IFACE": "eth0"}
    assert [SnifferSettings.from_env(env).host for env in everywhere] == ["", ""]
    assert 8081 not in made.places
    listed = SnifferSettings.from_env({"DECNET_SNIFFER_PORTS": "443=web-01/https 22"})
    assert listed.places == {443: Place("web-01", "https"), 22: Place("decky-01", "tcp")}
    for name, value in (("IFACE", "a" * 16), ("PORTS", "x"), ("RATE", "0")):
        with pytest.raises(SettingsError, match=f"DECNET_SNIFFER_{name}"):
            SnifferSettings.from_env({f"DECNET_SNIFFER_{name}": value})
