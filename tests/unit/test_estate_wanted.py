"""What an operator's file of deckies means, and what is to be done for it."""

from __future__ import annotations

import pytest

from decnet.decoys.catalogue import ARCHETYPES, DECKIES_MOST
from decnet.estate.deployment import steps
from decnet.estate.manager import Running
from decnet.estate.wanted import Deployment, Wanted, count, read

TOML = """
mutate_interval = 45

[decky-02]
services = ["ssh", "http"]
mutate_interval = 0

[printers]
archetype = "printer"
amount = 2
"""
INI = """
[general]
net = 192.168.1.0/24     ; of the containers
mutate_interval = 45
[decky-02]
ip = 192.168.1.20
services = ssh, http
mutate_interval = 0
[decky-02.ssh]
kernel = 5.15
[printers]
archetype = printer
amount = 2
[custom-1]
binary = /bin/x
"""
PRINTER = tuple(sorted(ARCHETYPES["printer"].services))


def parsed(text: str, file: str = "d.toml", first: str = "decky-01") -> Deployment:
    return read(text, file, first, seed=1)


@pytest.mark.parametrize(("text", "file"), [(TOML, "d.toml"), (INI, "d.ini")])
def test_wanted_named_deckies_get_their_number_others_the_lowest_free(text: str, file: str) -> None:
    made = parsed(text, file)
    assert made.faults == []
    assert made.deckies == [
        Wanted(1, "decky-01", "printer", PRINTER, 45),
        Wanted(2, "decky-02", "", ("http", "ssh"), 0),
        Wanted(3, "decky-03", "printer", PRINTER, 45),
    ]


def test_wanted_what_is_for_containers_is_named_and_left_out() -> None:
    notes = " ".join(parsed(INI, "d.ini").notes)
    assert all(f"[{x}]" in notes for x in ("general", "decky-02", "decky-02.ssh", "custom-1"))
    nested = parsed('[decky-01]\nservices = ["ssh"]\n[decky-01.ssh]\nkernel = "x"\n')
    assert nested.faults == [] and "decky-01.ssh" in nested.notes[0]


def test_wanted_first_decky_has_the_name_that_the_settings_give() -> None:
    made = parsed('[web-front]\nservices = ["ssh"]\n[b]\nservices = ["http"]', first="web-front")
    assert [(d.number, d.name) for d in made.deckies] == [(1, "web-front"), (2, "decky-02")]


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ('[decky-01]\nservces = ["ssh"]\narchetype = "printer"', 2, "servces", "'services'"),
        ('[decky-01]\nservices = ["sshd"]', 2, "'sshd'", "'ssh'"),
        ("[decky-01]\nservices = 3", 2, "3", "services = "),
        ('[a]\n\n[b]\narchetype = "linux-sever"\n[c]\narchetype = "printer"', 4, "sever", "server"),
        ('[a]\narchetype = "printer"\namount = 0', 3, "amount", "1 or more"),
        ('[a]\narchetype = "printer"\namount = 501', 3, f"{DECKIES_MOST}", "lower"),
        ('[a]\narchetype = "printer"\nmutate_interval = -1', 3, "-1", "minutes"),
        ('mutate_interval = "soon"\n[a]\narchetype = "printer"', 1, "soon", "minutes"),
        ("[a]\namount = 1", 1, "neither", "services"),
        ("[a\n", 0, "no TOML", ""),
    ],
)
def test_wanted_a_fault_has_line_section_key_value_and_remedy(
    text: str, line: int, said: str, hint: str
) -> None:
    faults = [f for f in parsed(text).faults if said in f.message]
    assert faults, parsed(text).faults
    assert faults[0].place == (f"d.toml:{line}" if line else "d.toml")
    assert hint in faults[0].hint


def test_wanted_all_faults_come_at_once() -> None:
    text = '[a]\nservices = ["x"]\n[b]\nfoo = 1\narchetype = "y"\n[c]\namount = "z"'
    assert len(parsed(text).faults) >= 4


def test_wanted_by_number_and_at_random_is_the_same_each_time() -> None:
    def made(seed: int) -> list[tuple[str, ...]]:
        found = count(
            8,
            "decky-01",
            services=(),
            archetype="devops-host",
            randomize=True,
            interval=None,
            seed=seed,
        )
        assert found.faults == [] and len(found.deckies) == 8
        return [decky.services for decky in found.deckies]

    assert made(1) == made(1) != made(2)
    assert all(1 <= len(services) <= 3 for services in made(3))


def test_steps_start_what_is_missing_and_stop_what_is_too_much() -> None:
    wanted = [Wanted(1, "decky-01", "", ("http", "ssh")), Wanted(3, "decky-03", "", ("ftp",))]
    running = {
        "decky-01": Running(1, {"ssh": "ready", "telnet": "up", "http": "failed"}),
        "decky-02": Running(2, {"ssh": "ready", "ftp": "inactive"}),
    }
    made = steps(wanted, running)
    assert made.start == [(1, ("http",)), (3, ("ftp",))]
    assert made.stop == [(1, ("telnet",)), (2, ("ssh",))]
    assert (made.kept, made.changes) == (1, 4)
    settled = {d.name: Running(d.number, dict.fromkeys(d.services, "ready")) for d in wanted}
    assert steps(wanted, settled).changes == 0
