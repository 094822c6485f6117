"""Countries and systems: the table agrees with a plain search, whatever the files hold."""

from __future__ import annotations

import gzip
import ipaddress
import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.cli.geo import geo as geo_command
from decnet.geo import where
from decnet.geo.build import build
from decnet.geo.ranges import V4_MOST, V6_MOST, Found, Range, flatten, network_around
from decnet.geo.sources import Read, read_delegated, read_file, read_systems
from decnet.geo.table import NOWHERE, BadTable, Place, Sources, Table, compile_table
from decnet.geo.where import Geo, GeoSettings, load_shared, reserved_only
from tests.support import mmdb
from zygote.errors import ZygoteError

DELEGATED = """\
2|example|20261124|4|19930901|20261124|+0000
example|*|ipv4|*|2|summary
# a remark
example|DE|ipv4|192.0.2.0|128|20100101|allocated
example|FR|ipv4|192.0.2.128|96|20100101|assigned
example||ipv4|198.51.100.0|256||available
example|JP|ipv6|2001:db8::|33|20100101|allocated
example|SE|asn|64496|1|20100101|allocated
example|NO|ipv4|nonsense|256|20100101|allocated
example|NO|ipv4|203.0.113.0|99999999999|20100101|allocated
"""
SYSTEMS = (
    "192.0.2.0\t192.0.2.191\t64496\tDE\tEXAMPLE-NET Example\n"
    "192.0.2.192\t192.0.2.223\t64497\tFR\tOTHER\x1b[2J\n"
    "198.51.100.0\t198.51.100.255\t0\tNone\tNot routed\n"
    "2001:db8::\t2001:db8:ff:ffff:ffff:ffff:ffff:ffff\t64498\tJP\tSIX\n"
    "half a line\n"
    "203.0.113.9\t203.0.113.1\t1\tNO\tbackwards\n"
)


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, "_shared", None)


@pytest.fixture
def settings(tmp_path: Path) -> GeoSettings:
    return GeoSettings.from_env({"DECNET_STATE_DIR": str(tmp_path)})


def filled(settings: GeoSettings) -> GeoSettings:
    settings.root.mkdir(exist_ok=True)
    (settings.root / "delegated-example-latest").write_text(DELEGATED)
    with gzip.open(settings.root / "ip2asn.tsv.gz", "wt") as file:
        file.write(SYSTEMS)
    return settings


RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(1, 4)).map(
        lambda t: Range(t[0], t[0] + t[1], t[2])
    ),
    max_size=12,
)


def looked_up(segments: list[tuple[int, int]], number: int) -> int:
    return next((value for start, value in reversed(segments) if start <= number), 0)


@given(RANGES, st.booleans())
def test_ranges_the_one_that_starts_last_counts(ranges: list[Range], merge: bool) -> None:
    segments = flatten(ranges, merge=merge)
    starts = [start for start, _ in segments]
    assert starts == sorted(set(starts))
    for number in range(90):
        holding = [r for r in ranges if r.start <= number <= r.end]
        found = looked_up(segments, number)
        if not holding:
            assert found == 0
            continue
        # Of equal starts the shorter one counts; of the very same range, either.
        best = max((r.start, -r.end) for r in holding)
        assert found in {r.value for r in holding if (r.start, -r.end) == best}


def number_of(version: int) -> st.SearchStrategy[int]:
    return st.integers(0, V4_MOST if version == 4 else V6_MOST)


@given(st.sampled_from([4, 6]), st.data())
def test_table_agrees_with_a_plain_search(version: int, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.sets(number_of(version), min_size=2, max_size=12)))
    # Neighbours in the upper 64 bits are where two-part numbers go wrong.
    base = edges[0] >> 64 << 64
    edges = sorted({*edges, base, base + 5}) if version == 6 else edges
    ranges = [(a, b - 1, n + 1, f"AS {n}") for n, (a, b) in enumerate(itertools.pairwise(edges))]
    sources = Sources()
    sources.systems[version] = ranges
    table = Table(compile_table(sources, 0.0))
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    for number in {*edges, *(e - 1 for e in edges if e), data.draw(number_of(version))}:
        address = kind(number)
        if getattr(address, "ipv4_mapped", None) is not None:
            continue
        place = table.find(str(address))
        expected = next((r for r in ranges if r[0] <= number <= r[1]), None)
        assert place.asn == (expected[2] if expected else None)
        if expected:
            network = ipaddress.ip_network(str(place.prefix))
            assert address in network
            assert expected[0] <= int(network.network_address)
            assert int(network.broadcast_address) <= expected[1]


def test_table_network_is_the_largest_in_the_range() -> None:
    start = int(ipaddress.IPv4Address("192.0.2.0"))
    assert network_around(start + 9, Found(start, start + 255, 1), 4) == "192.0.2.0/24"
    assert network_around(start + 9, Found(start, start + 190, 1), 4) == "192.0.2.0/25"
    assert network_around(0, Found(0, V4_MOST, 1), 4) == "0.0.0.0/0"
    assert network_around(5, Found(5, 5, 1), 6) == "::5/128"


def test_geo_build_and_find(settings: GeoSettings) -> None:
    built = build(filled(settings))
    assert [(r.file, r.ranges, r.skipped) for r in built.read] == [
        ("delegated-example-latest", 3, 2),
        ("ip2asn.tsv.gz", 3, 2),
    ]
    geo = Geo(settings)
    assert geo.find("192.0.2.7") == Place(
        "DE", 64496, "EXAMPLE-NET Example", "192.0.2.0/25", "documentation"
    )
    assert geo.find("192.0.2.130") == Place(
        "FR", 64496, "EXAMPLE-NET Example", "192.0.2.128/26", "documentation"
    )
    assert geo.find("192.0.2.200").as_name == "OTHER\\x1b[2J"
    assert geo.find("192.0.2.255") == Place(reserved="documentation")
    assert geo.find("2001:db8::1").asn == 64498
    assert geo.find("::ffff:192.0.2.7").country == "DE"
    assert geo.find("8.8.8.8") == geo.find("nonsense") == geo.find("") == NOWHERE


def test_geo_reads_an_mmdb(tmp_path: Path) -> None:
    mmdb.write(
        tmp_path / "x.mmdb",
        {
            "192.0.2.0/25": {"country": {"iso_code": "de"}},
            "2001:db8::/32": {
                "autonomous_system_number": 64500,
                "autonomous_system_organization": "Six",
            },
            "198.51.100.0/24": {"country": {"iso_code": "too long"}},
        },
    )
    sources = Sources()
    read = read_file(tmp_path / "x.mmdb", sources)
    assert (read.ranges, read.skipped) == (2, 1)
    table = Table(compile_table(sources, 0.0))
    assert table.find("192.0.2.127").country == "DE"
    assert table.find("192.0.2.128") == NOWHERE
    assert table.find("2001:db8:1::1").as_name == "Six"


@pytest.mark.parametrize(
    ("address", "use"),
    [
        ("192.168.1.1", "private"),
        ("203.0.113.4", "documentation"),
        ("127.0.0.1", "loopback"),
        ("fe80::1", "link-local"),
        ("255.255.255.255", "broadcast"),
        ("8.8.8.8", None),
    ],
)
def test_geo_knows_reserved_ranges_without_any_data(
    settings: GeoSettings, address: str, use: str | None
) -> None:
    assert Geo(settings).find(address) == Place(reserved=use)


def test_geo_bakes_and_takes_up_a_newer_table(settings: GeoSettings) -> None:
    build(filled(settings))
    load_shared(settings)
    geo = Geo(settings)
    assert geo.is_shared and not geo.refresh(now=True) and geo.is_shared
    (settings.root / "delegated-example-latest").write_text(DELEGATED.replace("|DE|", "|AT|"))
    build(settings)
    assert geo.find("192.0.2.7").country == "DE"
    geo.refresh(now=True)
    assert geo.find("192.0.2.7").country == "AT"
    assert not geo.is_shared


def test_geo_damaged_table_leaves_the_old_one_in_use(settings: GeoSettings) -> None:
    build(filled(settings))
    geo = Geo(settings)
    assert geo.find("192.0.2.7").country == "DE"
    data = bytearray(settings.file.read_bytes())
    data[len(data) // 2] ^= 1
    draft = settings.root / "draft"
    draft.write_bytes(data)
    draft.replace(settings.file)
    geo.refresh(now=True)
    assert "checksum" in geo.trouble
    assert geo.find("192.0.2.7").country == "DE"
    assert load_shared(settings).find("192.0.2.7") == Place(reserved="documentation")


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_table_of_any_bytes_is_refused(data: bytes, at: int) -> None:
    good = compile_table(Sources(), 0.0)
    with pytest.raises(BadTable):
        Table(data)
    with pytest.raises(BadTable):
        Table(good[: at % len(good)])


def test_geo_build_errors_name_the_file_and_the_way_out(settings: GeoSettings) -> None:
    with pytest.raises(ZygoteError, match="nothing to compile") as caught:
        build(settings)
    assert "DECNET_GEOIP_ROOT" in caught.value.hint
    settings.root.mkdir()
    for name, data, what in (
        ("x.mmdb", b"no database", "x.mmdb"),
        ("y.tsv.gz", b"no gzip", "y.tsv.gz"),
        ("z.tsv", b"\xff\0 binary \n" * 9, "make no sense"),
    ):
        file = settings.root / name
        file.write_bytes(data)
        with pytest.raises(ZygoteError, match=what):
            build(settings)
        file.unlink()
    assert not settings.file.exists()


@given(st.lists(st.text(max_size=60), max_size=20))
def test_geo_any_text_is_read_or_counted(lines: list[str]) -> None:
    for reader in (read_delegated, read_systems):
        sources, read = Sources(), Read("x")
        reader(lines, sources, read)
        compile_table(sources, 0.0)


def test_geo_of_many_ranges_is_small(settings: GeoSettings) -> None:
    chance = random.Random(3)
    starts = sorted(chance.sample(range(1 << 24), 20_000))
    sources = Sources()
    sources.systems[4] = [(s << 8, (s << 8) + 255, s % 900, f"AS {s % 900}") for s in starts]
    data = compile_table(sources, 0.0)
    assert len(data) < 40_000 * 8 + 100_000
    table = Table(data)
    for start in chance.sample(starts, 500):
        address = ipaddress.IPv4Address((start << 8) + chance.randrange(256))
        assert table.find(str(address)).as_name == f"AS {start % 900}"


def test_geo_shared_table_keeps_no_file_open(settings: GeoSettings) -> None:
    build(filled(settings))
    table = load_shared(settings)
    opened = {str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()}
    assert str(settings.file) not in opened
    assert table.bytes == settings.file.stat().st_size
    assert reserved_only().made == 0


def test_geo_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DECNET_STATE_DIR", str(tmp_path))
    geo_command("show")
    assert "no table yet" in capsys.readouterr().out
    filled(GeoSettings.from_env())
    geo_command("build")
    built = capsys.readouterr().out
    assert "ip2asn.tsv.gz: 3 ranges, 2 lines skipped" in built
    assert "skipped: half a line" in built
    geo_command("show", "192.0.2.7", "9.9.9.9")
    assert capsys.readouterr().out.splitlines() == [
        "192.0.2.7  reserved: documentation",
        "9.9.9.9  unknown",
    ]
    geo_command("show", "2001:db8::1", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["country"], told["asn"], told["prefix"]) == ("JP", 64498, "2001:db8::/40")
    geo_command("show", as_json=True)
    assert json.loads(capsys.readouterr().out)["systems_v4"] > 0
