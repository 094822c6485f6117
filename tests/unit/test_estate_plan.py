"""The estate's pure parts: what to choose, what is due, what a decky's state is."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.analysis.profile import is_attributable
from decnet.decoys.catalogue import ARCHETYPES, KINDS
from decnet.decoys.looks import look_of
from decnet.decoys.seat import host_of
from decnet.decoys.shell.shell import Shell
from decnet.estate import files, traffic, words
from decnet.estate.manager import group
from decnet.estate.plan import Verdict, choose_services, guess_archetype, is_due, judge, pool_of
from decnet.estate.settings import EstateSettings
from decnet.settings import SettingsError
from zygote.control.interface import WorkerState

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SERVICES = st.sets(st.sampled_from(sorted(KINDS)), min_size=1)


@given(st.sampled_from(["", "nonsense", *ARCHETYPES]), SERVICES, st.integers())
def test_choice_is_another_set_from_the_pool(archetype: str, now: set[str], seed: int) -> None:
    chosen = choose_services(archetype, now, random.Random(seed))
    assert chosen == sorted(set(chosen))
    if set(chosen) != now:
        assert chosen and set(chosen) <= set(pool_of(archetype))
    else:  # only where there is no other
        assert now == set(pool_of(archetype)) and len(now) == 1
    if archetype in ARCHETYPES:
        assert len(chosen) <= 3 or set(chosen) == now


@given(SERVICES)
def test_guessed_archetype_holds_all_services(services: set[str]) -> None:
    guess = guess_archetype(services)
    if guess:
        assert services <= set(ARCHETYPES[guess].services)
    else:
        assert not any(services <= set(a.services) for a in ARCHETYPES.values())


@pytest.mark.parametrize(
    ("ago", "minutes", "due"),
    [(None, 30, False), (29, 30, False), (30, 30, True), (999, 0, False)],
)
def test_due_after_the_interval_and_never_for_none(
    ago: int | None, minutes: int, due: bool
) -> None:
    mutated = None if ago is None else NOW - dt.timedelta(minutes=ago)
    assert is_due(mutated, minutes, NOW) is due


@pytest.mark.parametrize(
    ("running", "ours", "verdict"),
    [
        ({"ssh": "ready", "http": "up"}, True, Verdict("running")),
        ({"ssh": "ready", "http": "failed"}, True, Verdict("degraded", ("http",), "boom")),
        ({"ssh": "ready", "http": "failed"}, False, Verdict("degraded", (), "boom")),
        ({"ssh": "ready", "http": "inactive"}, True, Verdict("degraded", (), "boom")),
        ({"ssh": "backoff", "http": "backoff"}, True, Verdict("degraded", (), "boom")),
        ({"ssh": "inactive", "http": "inactive"}, True, Verdict("stopped", (), "boom")),
        ({}, True, Verdict("failed", ("ssh", "http"), "boom")),
    ],
)
def test_state_of_a_decky(running: dict[str, str], ours: bool, verdict: Verdict) -> None:
    assert judge(["ssh", "http"], running, {"http": "boom"}, missing_is_ours=ours) == verdict


def test_workers_are_grouped_by_decky_and_strangers_left_out() -> None:
    def state(name: str, state: str, error: str = "") -> WorkerState:
        told = dict.fromkeys(WorkerState.__dataclass_fields__)
        return WorkerState(**{**told, "name": name, "state": state, "error": error})

    found = group(
        [
            state("bus", "ready"),
            state("decoy@ssh", "ready"),
            state("decoy@ssh-02", "failed", "port taken"),
            state("decoy@http-02", "up"),
            state("decoy@nonsense", "ready"),
        ],
        "web-front",
    )
    assert list(found) == ["web-front", "decky-02"]
    assert found["web-front"].live == ["ssh"]
    assert found["decky-02"].live == ["http"]
    assert found["decky-02"].errors == {"ssh": "port taken"}


def test_own_addresses_are_known_and_no_others() -> None:
    assert traffic.is_ours(traffic.address_of(3)) and traffic.address_of(3) == "127.77.0.3"
    assert not any(map(traffic.is_ours, ("127.7.0.1", "127.0.0.1", "10.0.0.1", "", "Unknown")))


@given(st.sampled_from(words.CLASSES), st.sampled_from(words.PERSONAS), st.integers())
def test_files_grow_within_bounds(kind: str, persona: words.Persona, seed: int) -> None:
    chance = random.Random(seed)
    text = ""
    for _ in range(50):
        text = words.body(kind, persona, "2026-01-01 10:00:00", chance, text)
    assert 0 < len(text) <= files.BODY_MOST and text.endswith("\n")
    assert words.path_of(kind, persona, chance).startswith("/")


def test_files_lie_in_the_deckys_folder_and_nowhere_else(tmp_path: Path) -> None:
    files.place(tmp_path, "decky-02", "/var/log/a.log", "one")
    files.place(tmp_path, "decky-02", "/var/log/a.log", "two")
    assert files.placed(tmp_path, "decky-02") == {"/var/log/a.log": b"two"}
    assert files.placed(tmp_path, "decky-01") == {}
    with pytest.raises(ValueError, match="leads out"):
        files.place(tmp_path, "decky-02", "/../decky-01/x", "")
    for number in range(70):
        files.place(tmp_path, "decky-02", f"/n/{number:03}", "x" * (files.BODY_MOST + 5))
    found = files.placed(tmp_path, "decky-02")
    assert len(found) == 64 and max(map(len, found.values())) == files.BODY_MOST


def test_settings_come_from_the_environment() -> None:
    assert EstateSettings.from_env({}) == EstateSettings()
    env = {"DECNET_MUTATE_INTERVAL": "0", "DECNET_RECONCILE_REPAIR": "no"}
    assert EstateSettings.from_env(env) == EstateSettings(mutate_interval_min=0, repair=False)
    with pytest.raises(SettingsError, match="DECNET_LIFE_SECONDS"):
        EstateSettings.from_env({"DECNET_LIFE_SECONDS": "soon"})


def test_a_visitor_at_the_shell_finds_the_files_that_personas_left(tmp_path: Path) -> None:
    files.place(tmp_path, "decky-02", "/home/admin/TODO.x", "[ ] call back\n")
    files.place(tmp_path, "decky-02", "/srv/new/deep/a.txt", "deep\n")
    files.place(tmp_path, "decky-02", "/etc/hostname", "not over the system's own\n")
    shell = Shell(host_of(look_of(2)), "root", left=files.placed(tmp_path, "decky-02"))
    assert shell.run("cat /home/admin/TODO.x").strip() == "[ ] call back"
    assert shell.run("ls /srv/new").strip() == "deep"
    assert "system" not in shell.run("cat /etc/hostname")


def test_our_own_deckies_make_no_profile() -> None:
    assert is_attributable("127.0.0.1") and not is_attributable(traffic.address_of(4))
