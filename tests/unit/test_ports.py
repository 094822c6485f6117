"""What `check` says of ports before anybody listens there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.cli.app import ports as decnet_ports
from tests.support.ports import free_port
from zygote.cli import ports
from zygote.cli.ports import Port, faults, try_bind


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        yield sock.getsockname()[1]


@pytest.fixture(autouse=True)
def no_loans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is lent to outgoing connections, or a free port of a test would be."""
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    monkeypatch.setattr(ports, "_RESERVED", tmp_path / "reserved")
    (tmp_path / "reserved").write_text("\n")
    return tmp_path


def test_a_taken_port_is_told_with_worker_and_way_out(taken: int) -> None:
    (line,) = faults([Port("web", "127.0.0.1", taken, "WEB_PORT")])
    assert f"'web': port {taken} on 127.0.0.1 is taken" in line
    assert "ss -ltnup" in line and "change WEB_PORT" in line


def test_a_port_that_the_running_worker_holds_is_no_fault(taken: int) -> None:
    assert faults([Port("web", "127.0.0.1", taken, "WEB_PORT")], running=["web"]) == []


def test_a_port_of_the_kernels_choice_is_no_fault() -> None:
    assert faults([Port("a", "127.0.0.1", 0, "A"), Port("b", "127.0.0.1", 0, "B")]) == []


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_two_workers_on_one_port(first: str, second: str, collide: bool) -> None:
    number = free_port()
    found = faults([Port("a", first, number, "A_PORT"), Port("b", second, number, "B_PORT")])
    assert bool(found) == collide
    if collide:
        assert found[0].startswith(f"'a' and 'b' would both listen on port {number}")
        assert "A_PORT or B_PORT" in found[0]


def test_udp_and_tcp_share_a_number() -> None:
    number = free_port()
    both = [Port("a", "127.0.0.1", number, "A"), Port("b", "127.0.0.1", number, "B", udp=True)]
    assert faults(both) == []


def test_ports_lent_to_outgoing_connections_are_told_together(no_loans: Path) -> None:
    number = free_port()
    (no_loans / "range").write_text(f"{number}\t{number + 9}\n")
    wanted = [Port("a", "127.0.0.1", number, "A"), Port("b", "127.0.0.3", number, "B")]
    (line,) = faults(wanted)
    assert line.startswith("1 port lies among") and f"{number} to {number + 9}" in line
    (no_loans / "reserved").write_text(f"7,{number - 1}-{number + 1}\n")
    assert faults(wanted) == [], "those are left alone"


def test_many_taken_ports_are_told_as_few(taken: int) -> None:
    wanted = [Port(f"w{n}", "127.0.0.1", taken, "W") for n in range(8)]
    found = [line for line in faults(wanted) if "taken" in line or "more" in line]
    assert len([line for line in found if "is taken" in line]) == 5
    assert found[-1] == "and 3 ports more, likewise"


def test_a_foreign_address_is_refused() -> None:
    assert try_bind(Port("a", "192.0.2.1", 5000, "A")) == errno.EADDRNOTAVAIL
    assert try_bind(Port("a", "no such host", 5000, "A")) == errno.EADDRNOTAVAIL


def test_the_tenant_names_the_ports_of_its_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DECNET_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DECNET_DECOY_SSH_PORT", "2200")
    monkeypatch.setenv("DECNET_API_PORT", "2300")
    found = {p.worker: (p.number, p.setting) for p in decnet_ports(["api", "decoy@ssh-02", "bus"])}
    assert found == {
        "api": (2300, "DECNET_API_PORT"),
        "decoy@ssh-02": (2300, "DECNET_DECOY_SSH_PORT"),
    }
