"""What `make run` shows, and the ports that it takes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from decnet.decoys.catalogue import KINDS, port_of
from decnet.run import ports, screen
from decnet.settings import Settings
from zygote.control.interface import WorkerState


def worker(name: str, state: str = "ready", **values: object) -> WorkerState:
    """A worker with a state; all else is empty."""
    blank = dict.fromkeys((field.name for field in fields(WorkerState)), None)
    return WorkerState(**{**blank, "name": name, "state": state, "restarts": 0, **values})


def test_screen_shows_decoys_of_a_kind_as_one_row_unless_one_is_ill() -> None:
    names = ("bus", "campaign-clusterer", "decoy@ssh", "decoy@http", "decoy@ssh-02", "decoy@ssh-03")
    workers = [worker(name) for name in names] + [worker("decoy@ssh-04", "failed")]
    shown = [(name, len(group)) for name, group in screen.groups(workers)]
    assert shown == [
        ("bus", 1),
        ("campaign-clusterer", 1),
        ("decoy@ssh \u2026", 3),
        ("decoy@http", 1),
        ("decoy@ssh-04", 1),
    ]


def test_screen_sums_a_row_of_many() -> None:
    workers = [worker("decoy@ftp", pid=1), worker("decoy@ftp-02", pid=2, restarts=3)]
    row = dict.fromkeys(("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib"))
    memory = {1: {**row, "pss_kib": 1000}, 2: {**row, "pss_kib": 2000}}
    console = Console(width=120, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(screen.fleet(workers, memory, []))
    console.file.close()
    line = console.export_text().splitlines()[1]
    assert "2 of them" in line
    assert line.split()[-1] == "3"
    assert "3.1" in line


def test_screen_has_one_command_for_each_kind(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_DECOY_FTP_PORT": "2199"}
    text = screen.howto(Settings.from_env(env))
    assert "ftp://root:x@127.0.0.1:2199/" in text
    for kind in KINDS.values():
        assert str(kind.base_port) in text or kind.name == "ftp"


def test_ports_of_a_run_are_free_for_every_decky(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ports.free_ports()
    numbers = [int(found[name]) for name in ports.WORKER_PORTS]
    for kind in KINDS.values():
        base = int(found[kind.variable])
        numbers += [port_of(kind.name, n, base) for n in range(1, ports.DECKIES + 1)]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < ports.HIGH + 100
    assert len(ports.WORKER_PORTS) + len(KINDS) <= ports.CELL
    # Nobody has bound them, and yet another run, and another process, gets others.
    again = {int(port) for port in ports.free_ports().values()}
    assert not again & set(numbers)
    origin = min(numbers)
    monkeypatch.setattr(ports.random, "randrange", lambda *_: origin)
    with pytest.raises(OSError, match="no free ports"):
        ports.free_ports()
    monkeypatch.undo()
    monkeypatch.setattr(ports, "_is_free", lambda port: False)
    with pytest.raises(OSError, match="no free ports"):
        ports.free_ports()
