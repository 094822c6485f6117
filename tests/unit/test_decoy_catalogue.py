"""Names, ports and archetypes of the decoys."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys import catalogue, looks
from decnet.decoys.catalogue import Instance, UnknownDecoy


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ssh", Instance("ssh", 1, "decky-01")),
        ("ssh-01", Instance("ssh", 1, "decky-01")),
        ("http-02", Instance("http", 2, "decky-02")),
        ("decoy@redis-17", Instance("redis", 17, "decky-17")),
        ("tcp-123", Instance("tcp", 123, "decky-123")),
    ],
)
def test_catalogue_instance_says_kind_number_and_decky(text: str, found: Instance) -> None:
    assert catalogue.parse_instance(text) == found


@pytest.mark.parametrize(
    "text", ["", "gopher", "ssh-", "ssh-2", "ssh-00", "ssh-501", "ssh-0002", "ssh-02x", "SSH",
             "ssh-٠٢", "ssh\n", "ssh-02-03", "decoy@", "decoy@decoy@ssh"]
)  # fmt: skip
def test_catalogue_what_is_no_instance_is_refused(text: str) -> None:
    with pytest.raises(UnknownDecoy):
        catalogue.parse_instance(text)


@given(st.sampled_from(catalogue.kinds()), st.integers(1, catalogue.DECKIES_MOST))
def test_catalogue_names_read_back(kind: str, number: int) -> None:
    name = catalogue.worker_name(kind, number)
    instance = catalogue.parse_instance(name, first="gateway")
    assert instance[:2] == (kind, number)
    assert catalogue.decky_number(instance.decky, first="gateway") == number
    assert (instance.decky == "gateway") == (number == 1)


@given(st.text())
def test_catalogue_any_name_is_known_or_refused(text: str) -> None:
    for read in (catalogue.parse_instance, catalogue.decky_number):
        try:
            read(text)
        except UnknownDecoy as error:
            assert len(str(error)) < 1000


def test_catalogue_no_two_decoys_share_a_port() -> None:
    found = catalogue.ports(range(1, catalogue.DECKIES_MOST + 1))
    assert len(set(found.values())) == len(found) == 8 * catalogue.DECKIES_MOST
    assert max(found.values()) < 65_536
    assert (found["decoy@ssh"], found["decoy@ssh-02"], found["decoy@http-04"]) == (2222, 2322, 8381)


def test_catalogue_ports_follow_their_base() -> None:
    assert catalogue.port_of("ssh", 3, base=22) == 222
    assert catalogue.port_of("ssh", 3, base=0) == 0, "the kernel chooses, for every decky"
    with pytest.raises(UnknownDecoy, match="decky 8 has no ssh port"):
        catalogue.port_of("ssh", 8, base=65_000)
    with pytest.raises(UnknownDecoy, match="no decoy 'gopher'"):
        catalogue.port_of("gopher")
    with pytest.raises(UnknownDecoy):
        catalogue.port_of("ssh", 0)


def test_catalogue_archetypes_are_made_of_kinds() -> None:
    for archetype in catalogue.ARCHETYPES.values():
        assert 3 <= len(set(archetype.services)) == len(archetype.services)
        assert set(archetype.services) <= set(catalogue.kinds())


def test_catalogue_every_kind_is_on_the_floor_of_the_decoys_without_a_database() -> None:
    code = (
        "import sys, decnet.decoys.floor as floor\n"
        "from decnet.decoys.catalogue import kinds\n"
        "assert set(floor.SERVERS) == set(kinds())\n"
        "print(*[m for m in ('sqlalchemy', 'pydantic', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_catalogue_loads_no_decoy() -> None:
    code = (
        "import sys, decnet.decoys.catalogue, decnet.decoys.looks\n"
        "print(*[m for m in ('asyncssh', 'asyncio', 'socket', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_looks_differ_between_deckies_and_stay() -> None:
    first = [looks.look_of(number) for number in range(1, 31)]
    assert first == [looks.look_of(number) for number in range(1, 31)]
    assert len({look.host for look in first}) == 30
    assert len({look.ssh for look in first[:4]}) == len({look.http for look in first[:4]}) == 4
    assert looks.look_of(7).telnet.endswith("web07 ")
    assert looks.look_of(1) == looks.LOOKS[0]
