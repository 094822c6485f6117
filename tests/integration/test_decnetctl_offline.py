"""`decnetctl` on a machine where no fleet runs: doctor, catalogues, exports, users."""

from __future__ import annotations

import csv
import io
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlmodel import Session, create_engine, select

from decnet.cli.app import main
from decnet.db.tables import Attacker, Credential, Log, TtpTag, User
from decnet.web.api import auth
from tests.support.api import NOW
from tests.support.decnet_env import migrated
from tests.support.ports import free_port
from zygote.cli.context import current

EVIL = '=HYPERLINK("http://x","you won")'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    engine = create_engine(f"sqlite:///{migrated(folder)}")
    with Session(engine) as session:
        who = Attacker(ip="192.0.2.7", first_seen=NOW, last_seen=NOW, services=["ssh", "http"])
        session.add(who)
        session.flush()
        session.add_all(
            Log(
                timestamp=NOW,
                decky="decky-01",
                service="ssh",
                event_type="command",
                attacker_ip="192.0.2.7" if n % 2 else "192.0.2.8",
                raw_line="-",
                fields={"n": n, "x": "\udcff"},
            )
            for n in range(1201)
        )
        session.add(
            Credential(
                attacker_ip="192.0.2.7",
                attacker_uuid=who.uuid,
                decky_name="decky-01",
                service="ssh",
                principal=EVIL,
                secret_sha256="b" * 64,
                secret_b64="YQ==",
                secret_printable="-1.5",
                first_seen=NOW,
                last_seen=NOW,
            )
        )
        session.add(
            TtpTag(
                uuid="t1",
                source_kind="command",
                source_id="1",
                attacker_uuid=who.uuid,
                tactic="TA0002",
                technique_id="T1059",
                sub_technique_id="T1059.004",
                confidence=0.8,
                rule_id="R0001",
                rule_version=1,
                attack_release="18.1",
                mitre_url="https://attack.mitre.org/techniques/T1059/004",
                observed_at=NOW,
            )
        )
        session.commit()
    engine.dispose()
    return folder


@dataclass
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


class Decnetctl:
    """The command in this process, which has all of its modules already."""

    def __init__(
        self, state: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self._capsys, self._patch = capsys, patch
        patch.setenv("DECNET_STATE_DIR", str(state))
        patch.setenv("ZYGOTE_RUNTIME_DIR", str(state.parent / "run"))

    def __call__(self, *words: str, given: str = "", **env: str) -> Done:
        with self._patch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            patch.setattr("sys.stdin", io.StringIO(given))
            patch.setattr("sys.argv", ["decnetctl", *words])
            patch.setattr(current, "fleet", None)
            code = main()
        out, err = self._capsys.readouterr()
        return Done(code, out, err)


@pytest.fixture
def decnetctl(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Decnetctl:
    return Decnetctl(state, capsys, monkeypatch)


def doctor(
    decnetctl: Decnetctl, *words: str, **env: str
) -> tuple[int, dict[tuple[str, str], list[str]]]:
    done = decnetctl("doctor", "--json", *words, **env)
    told = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    found: dict[tuple[str, str], list[str]] = {}
    for one in told["findings"]:
        found.setdefault((one["level"], one["worker"]), []).append(f"{one['what']} {one['remedy']}")
    return done.returncode, found


def test_doctor_names_what_is_missing_for_which_worker_and_the_remedy(
    decnetctl: Decnetctl, state: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = doctor(
            decnetctl,
            DECNET_DECOY_SSH_PORT=str(port),
            DECNET_SNIFFER_IFACE="nosuch0",
            DECNET_TTP_RULES_DIR=str(state / "rules"),
            DECNET_JWT_SECRET="a" * 40,
        )
    assert code == 1
    assert f"port {port}" in found["missing", "decoy@ssh"][0]
    assert "DECNET_DECOY_SSH_PORT" in found["missing", "decoy@ssh"][0]
    assert any("nosuch0" in x and "lo" in x for x in found["missing", "sniffer"])
    assert "rules" in found["missing", "ttp"][0]
    assert "jwt-secret" in found["missing", "api"][0]
    assert "geo build" in found["note", "profiler"][0]
    assert any("revision" in text for text in found["ok", "all"])
    (state / "rules").mkdir()
    code, found = doctor(decnetctl, "ttp", DECNET_TTP_RULES_DIR=str(state / "rules"))
    assert (code, found) == (0, {})


def test_doctor_tells_of_a_database_and_a_fleet_file_that_are_wrong(
    decnetctl: Decnetctl, state: Path, tmp_path: Path
) -> None:
    (state / "decnet.db").write_bytes(b"no database at all" * 100)
    wrong = tmp_path / "fleet.toml"
    wrong.write_text('[fleet]\nname = "x"\n[worker.a]\nrunn = "b"\n')
    code, found = doctor(decnetctl, "--fleet", str(wrong))
    assert code == 1
    said = " ".join(found["missing", "all"])
    assert "decnet.db" in said and "fleet.toml:4" in said


def test_doctor_without_such_a_worker_says_so(decnetctl: Decnetctl, state: Path) -> None:
    done = decnetctl("doctor", "profilr")
    assert done.returncode == 4
    assert "profilr" in done.stderr and "hint:" in done.stderr


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_export_csv_has_every_row_once_and_no_formula(decnetctl: Decnetctl, state: Path) -> None:
    done = decnetctl("export", "csv", "visits")
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    assert [json.loads(row["fields"])["n"] for row in rows] == list(range(1201))
    assert "\\udcff" in rows[1]["fields"], "no byte of an attacker breaks the output"
    some = table(decnetctl("export", "csv", "--attacker", "192.0.2.7").stdout)
    assert len(some) == 600
    assert table(decnetctl("export", "csv", "attackers", "--since-days", "1").stdout) == []
    (credential,) = table(decnetctl("export", "csv", "credentials").stdout)
    assert credential["user"] == f"'{EVIL}"
    assert credential["secret"] == "-1.5", "a number is a number"
    (credential,) = table(decnetctl("export", "csv", "credentials", "--raw").stdout)
    assert credential["user"] == EVIL
    (technique,) = table(decnetctl("export", "csv", "techniques").stdout)
    assert (technique["ip"], technique["technique"]) == ("192.0.2.7", "T1059.004")


def test_export_writes_a_file_whole_or_not_at_all(
    decnetctl: Decnetctl, state: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle.json"
    done = decnetctl("export", "stix", "--out", str(out))
    assert done.returncode == 0, done.stderr
    types = {one["type"] for one in json.loads(out.read_text())["objects"]}
    assert {"attack-pattern", "ipv4-addr", "sighting"} <= types
    done = decnetctl("export", "navigator", "-o", str(out))
    assert json.loads(out.read_text())["techniques"][0]["techniqueID"] == "T1059.004"
    assert out.stat().st_mode & 0o077 == 0
    (state / "decnet.db").unlink()
    assert decnetctl("export", "csv", "-o", str(out)).returncode != 0
    assert json.loads(out.read_text())["techniques"]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["bundle.json"]
    done = decnetctl("export", "csv", "-o", str(tmp_path / "none" / "x.csv"))
    assert done.returncode == 1 and "hint:" in done.stderr


def test_users_are_made_listed_changed_and_removed(decnetctl: Decnetctl, state: Path) -> None:
    done = decnetctl("user", "add", "ann", "--role", "admin", given="a long password\n")
    assert done.returncode == 0 and "a long password" not in done.stdout + done.stderr
    assert decnetctl("user", "add", "ann", given="\n").returncode == 1
    made_up = decnetctl("user", "add", "bob").stdout.strip()
    assert len(made_up) >= 12
    users = {u["username"]: u for u in json.loads(decnetctl("user", "list", "--json").stdout)}
    assert {name: u["role"] for name, u in users.items()} == {"ann": "admin", "bob": "viewer"}
    assert users["bob"]["must_change_password"]
    assert auth.verify_password("a long password", stored(state, "ann"))
    assert auth.verify_password(made_up, stored(state, "bob"))
    assert decnetctl("user", "password", "bob", given="short\n").returncode == 2
    assert decnetctl("user", "password", "bob", given="another long one\n").returncode == 0
    assert auth.verify_password("another long one", stored(state, "bob"))
    assert "last admin" in decnetctl("user", "remove", "ann").stderr
    assert decnetctl("user", "remove", "bob").returncode == 0
    assert decnetctl("user", "remove", "bob").returncode == 4


def stored(state: Path, name: str) -> str:
    engine = create_engine(f"sqlite:///{state}/decnet.db")
    with Session(engine) as session:
        found = session.exec(select(User).where(User.username == name)).one().password_hash
    engine.dispose()
    return found


def test_catalogues_need_nothing(decnetctl: Decnetctl) -> None:
    port = free_port()
    done = decnetctl("services", "--json", DECNET_DECOY_SSH_PORT=str(port))
    ssh = next(one for one in json.loads(done.stdout) if one["service"] == "ssh")
    assert ssh["port"] == port and "linux-server" in ssh["archetypes"]
    names = [one["name"] for one in json.loads(decnetctl("archetypes", "--json").stdout)]
    assert "printer" in names and len(names) == 7
    assert "an office printer" in decnetctl("archetypes").stdout
