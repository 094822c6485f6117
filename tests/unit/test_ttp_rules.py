"""The shipped rules do what their examples say; bad rule files are refused with a way out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.ttp.attack import Attack
from decnet.ttp.catalogue import Catalogue, Shared
from decnet.ttp.engine import TIMEOUTS_MOST, Judge, Meter, Verdict
from decnet.ttp.event import KINDS, TEXT_MOST, Event, derive, of_log
from decnet.ttp.examples import START, failures
from decnet.ttp.faults import RuleFileError
from decnet.ttp.lifters import Past
from decnet.ttp.patterns import SECONDS
from decnet.ttp.rules import FILE_MOST, Rule, read_rules
from decnet.ttp.schema import RuleModel
from decnet.ttp.shared import load_shared

SHARED = load_shared()
GOOD = """
- rule_id: R9001
  rule_version: 1
  name: Test
  description: A test.
  applies_to: [command]
  match: {field: command, regex: '^evil$'}
  emits: {tactic: TA0002, technique_id: T1059, sub_technique_id: T1059.004, confidence: 0.5}
  evidence_fields: [command]
  fires: [evil]
  not: [good]
"""


def command(text: str, number: int = 1) -> Event:
    return Event(
        "command",
        str(number),
        START,
        derive("command", {"command": text}),
        "192.0.2.1",
        number=number,
    )


def judge(rules: list[Rule], meter: Meter | None = None, **verdicts: Verdict) -> Judge:
    kinds = {kind: tuple(r for r in rules if kind in r.kinds) for kind in KINDS}
    return Judge(SHARED.attack, kinds, verdicts, meter or Meter())


@pytest.mark.parametrize("rule", SHARED.rules, ids=lambda rule: rule.id)
def test_ttp_rule_fires_on_its_examples_and_on_no_other(rule: Rule) -> None:
    model = RuleModel.model_validate(yaml.safe_load(rule.content))
    assert model.fires and model.not_, "each shipped rule has examples of both kinds"
    assert failures(rule) == []


def test_ttp_rules_are_many_and_their_examples_can_fail() -> None:
    assert len(SHARED.rules) >= 64
    assert len({emit.technique_id for rule in SHARED.rules for emit in rule.emits}) >= 42
    wrong = yaml.safe_load(GOOD)
    wrong[0] |= {"fires": ["good"], "not": ["evil"]}
    [rule] = read_rules(yaml.safe_dump(wrong).encode(), "x.yaml", SHARED.attack)
    assert len(failures(rule)) == 2


def test_ttp_attack_table_is_small_and_consistent() -> None:
    import decnet.ttp.attack as module

    assert (Path(module.__file__).parent / "attack.json").stat().st_size < 200_000
    attack = SHARED.attack
    assert attack.name("T1110.001") == "Brute Force: Password Guessing"
    assert attack.url("T1110.001") == "https://attack.mitre.org/techniques/T1110/001"
    for technique in attack.techniques.values():
        assert technique.tactics and set(technique.tactics) <= set(attack.tactics)
        assert technique.id.partition(".")[0] in attack.techniques


BAD = {
    "no yaml": ("- rule_id: [R1", "no YAML in line"),
    "no list": ("rule_id: R9001", "not a list"),
    "empty": ("", "not a list"),
    "id": (GOOD.replace("R9001", "RULE1"), "rule_id"),
    "missing": (GOOD.replace("  name: Test\n", ""), "name: field required"),
    "unknown key": (GOOD + "  severity: high\n", "severity"),
    "pattern": (GOOD.replace("^evil$", "(evil"), "no regular expression"),
    "technique": (GOOD.replace("T1059", "T9999"), "no technique of ATT&CK"),
    "tactic": (GOOD.replace("TA0002", "TA0001"), "does not serve this tactic"),
    "parent": (GOOD.replace("technique_id: T1059,", "technique_id: T1110,"), "no part of T1110"),
    "confidence": (GOOD.replace("0.5", "1.5"), "confidence"),
    "kind": (GOOD.replace("[command]\n  match", "[commands]\n  match"), "applies_to"),
    "lifter": (
        GOOD.replace("{field: command, regex: '^evil$'}", "{lifter: magic}"),
        "no lifter",
    ),
    "parameters": (
        GOOD.replace("{field: command, regex: '^evil$'}", "{lifter: burst, with: {window: 3}}"),
        "with.threshold",
    ),
    "two ways": (GOOD.replace("{field:", "{lifter: canary, field:"), "several at once"),
    "secret": (GOOD.replace("[command]\n  fires", "[secret_b64]\n  fires"), "a secret"),
    "mail": (
        GOOD.replace("applies_to: [command]", "applies_to: [email]"),
        "evidence of a mail",
    ),
    "twice": (GOOD + GOOD, "the same id"),
    "alias": ("- &a {rule_id: R9001}\n- *a\n", "alias"),
    "bytes": (b"- rule_id: \xff\xfe", "not UTF-8"),
    "huge": (b"#" * (FILE_MOST + 1), "larger than"),
    "blind": (
        GOOD.replace("applies_to: [command]", "applies_to: [payload]").replace(
            "{field: command, regex: '^evil$'}",
            "{lifter: burst, with: {threshold: 3, window_s: 9}}",
        ),
        "cannot look back",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_ttp_bad_rule_file_is_refused_with_its_place_and_a_way_out(
    name: str, tmp_path: Path
) -> None:
    data, expected = BAD[name]
    data = data.encode() if isinstance(data, str) else data
    with pytest.raises(RuleFileError) as caught:
        read_rules(data, "own.yaml", SHARED.attack)
    said = "\n".join(str(fault) for fault in caught.value.faults)
    assert expected.lower() in said.lower()
    assert said.startswith("own.yaml")
    assert all(fault.remedy for fault in caught.value.faults)
    assert said.isprintable() or "\n" in said
    # And the same file laid over a good one changes nothing.
    catalogue = Catalogue(SHARED, tmp_path)
    (tmp_path / "own.yaml").write_text(GOOD)
    catalogue.refresh()
    (tmp_path / "own.yaml").write_bytes(data)
    assert catalogue.refresh() == []
    assert "R9001" in catalogue.rules and catalogue.faults["own.yaml"]
    (tmp_path / "own.yaml").write_text(GOOD + "\n")
    assert catalogue.refresh() == [] and not catalogue.faults


def test_ttp_all_faults_of_a_file_are_told_at_once() -> None:
    two = GOOD.replace("0.5", "7") + GOOD.replace("R9001", "R9002").replace("TA0002", "TA9")
    with pytest.raises(RuleFileError) as caught:
        read_rules(two.encode(), "own.yaml", SHARED.attack)
    assert {fault.rule for fault in caught.value.faults} == {"R9001", "R9002"}


def test_ttp_catalogue_follows_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    catalogue = Catalogue(SHARED, folder)
    assert catalogue.refresh() == [] and len(catalogue.rules) == len(SHARED.rules)
    folder.mkdir()
    own = folder / "own.yaml"
    own.write_text(GOOD)
    [change] = catalogue.refresh()
    assert change.rule is not None and change.rule_id == "R9001"
    assert catalogue.refresh() == []
    own.write_text(GOOD.replace("^evil$", "^worse$"))
    [change] = catalogue.refresh()
    assert change.rule is not None and "worse" in change.rule.content
    (folder / "other.yaml").write_text(GOOD)
    assert catalogue.refresh() == [] and "is in own.yaml" in catalogue.faults["other.yaml"]
    # A rule of ours is replaced by one of the same id, and comes back.
    (folder / "other.yaml").write_text(GOOD.replace("R9001", "R0001"))
    [change] = catalogue.refresh()
    assert change.rule_id == "R0001" and catalogue.rules["R0001"].name == "Test"
    own.unlink()
    (folder / "other.yaml").unlink()
    changes = {change.rule_id: change.rule for change in catalogue.refresh()}
    assert set(changes) == {"R9001", "R0001"}
    assert changes["R9001"] is None and catalogue.rules["R0001"].name != "Test"


def test_ttp_catalogue_recovers_the_old_rules_of_a_file_that_is_bad_at_the_start(
    tmp_path: Path,
) -> None:
    [rule] = read_rules(GOOD.encode(), "own.yaml", SHARED.attack)
    (tmp_path / "own.yaml").write_text("nonsense")
    catalogue = Catalogue(SHARED, tmp_path)
    catalogue.refresh()
    assert "R9001" not in catalogue.rules
    assert catalogue.recover("own.yaml", [rule.content])
    assert catalogue.rules["R9001"].digest == rule.digest
    assert catalogue.faults


def test_ttp_pattern_that_backtracks_is_stopped_and_then_left_out() -> None:
    text = GOOD.replace("^evil$", "^(a|aa)+$")
    [rule] = read_rules(text.encode(), "x", SHARED.attack)
    meter = Meter()
    one = judge([rule], meter)
    started = time.process_time()
    for number in range(20):
        assert one.judge(command("a" * 4000 + "!", number), Past()) == []
    assert meter.timeouts["R9001"] == TIMEOUTS_MOST and meter.too_slow() == ["R9001"]
    assert time.process_time() - started < 20 * TIMEOUTS_MOST * SECONDS


@pytest.mark.parametrize(
    "hostile",
    [
        *("a" * 100_000, "' or " * 20_000, "../" * 30_000, "${" * 40_000, "$(" * 40_000),
        *("curl " * 20_000, "x" * 4000 + "|", "=" * 50_000, "%25" * 30_000, "sh -c " * 9_000),
        *("find / " * 9_000, "ssh -o x " * 9_000, "\\x41" * 9_000, "rm -rf " * 9_000),
        *("${j${::-" * 9_000, "wget http://" * 9_000, "tar c" * 9_000, "for i in " * 9_000),
    ],
    ids=lambda text: text[:8].encode().hex(),
)
def test_ttp_shipped_rules_take_hostile_text_in_bounded_time(hostile: str) -> None:
    meter = Meter()
    one = judge(list(SHARED.rules), meter)
    started = time.process_time()
    for kind, fields in (
        ("command", {"command": hostile}),
        ("http_request", {"path": hostile, "query": hostile, "body": hostile}),
        ("payload", {"event_type": "query", "data": hostile}),
        ("email", {"subject": hostile, "body": hostile, "attachments": hostile}),
    ):
        event = Event(kind, "1", START, derive(kind, fields), "192.0.2.1", number=1)
        one.judge(event, Past())
    assert time.process_time() - started < 5
    assert meter.timeouts.total() == 0 and meter.poison == 0
    assert meter.texts_cut >= (len(hostile) > 2 * TEXT_MOST)


class Row:
    """A row of `logs`."""

    def __init__(self, event_type: str, fields: object, msg: str | None) -> None:
        self.id = 7
        self.timestamp = START
        self.decky, self.service, self.attacker_ip = "d", "ssh", "192.0.2.1"
        self.event_type, self.fields, self.msg = event_type, fields, msg


NAMES = st.sampled_from(
    ["command", "path", "query", "body", "principal", "outcome", "user_agent", "mail_from", "x"]
)
TYPES = st.sampled_from(["command", "request", "login_attempt", "message_accepted", "odd", "vrfy"])


@settings(max_examples=150, deadline=None)
@given(TYPES, st.dictionaries(NAMES, st.text(max_size=300)), st.none() | st.text(max_size=100))
def test_ttp_any_event_is_judged_without_poison(
    event_type: str, fields: dict[str, str], msg: str | None
) -> None:
    meter = Meter()
    event = of_log(Row(event_type, fields, msg))
    assert event is not None
    for tag in judge(list(SHARED.rules), meter).judge(event, Past()):
        assert all(str(value).isprintable() for value in tag.row["evidence"].values())
        assert "secret_printable" not in tag.row["evidence"]
    assert meter.poison == 0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_ttp_any_bytes_as_a_rule_file_are_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(RuleFileError):
        read_rules(data, "x.yaml", SHARED.attack)


BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139",
    "Mozilla/5.0 (Linux; U; Android 4.4; id-id; SM-G) AppleWebKit/534.30; Version/4.0",
    "curl/8.5.0",
)
INNOCENT_URLS = (
    *("/", "/index.html", "/img/logo.png?v=3", "/search?q=select+a+plan+or+an+union&page=2"),
    *("/login?next=/home", "/api/v2/items?ids=1,2,3&sort=-date", "/blog/2026/11/id-cards;v=2"),
    *("/docs/how-to-curl-a-file", "/shop?name=O%27Neill&size=10", "/feed.xml", "/robots.txt"),
)
INNOCENT_COMMANDS = (
    *("cd project", "vim notes.txt", "git status", "make test", "echo hello world", "exit", "pwd"),
    *("mkdir work", "cat README.md", "python3 app.py", "man ls", "date", "apt-get update", "ls"),
    *("cp a.txt b.txt", "less report.txt", "docker ps", "systemctl status nginx", "df -h", "clear"),
)


@pytest.mark.parametrize("url", INNOCENT_URLS)
@pytest.mark.parametrize("agent", BROWSERS, ids=lambda agent: agent[-12:])
def test_ttp_innocent_request_gets_no_tag(url: str, agent: str) -> None:
    path, _, rest = url.partition("?")
    fields = {"method": "GET", "path": path, "query": rest, "user_agent": agent, "status": "200"}
    event = Event("http_request", "1", START, derive("http_request", fields), "192.0.2.1")
    assert [tag.row["rule_id"] for tag in judge(list(SHARED.rules)).judge(event, Past())] == []


@pytest.mark.parametrize("text", INNOCENT_COMMANDS)
def test_ttp_innocent_command_gets_no_tag(text: str) -> None:
    tags = judge(list(SHARED.rules)).judge(command(text), Past())
    assert [tag.row["rule_id"] for tag in tags] == []


def test_ttp_verdicts_turn_rules_off_and_clip_them() -> None:
    [rule] = read_rules(GOOD.encode(), "x", SHARED.attack)
    [tag] = judge([rule]).judge(command("evil"), Past())
    assert tag.row["confidence"] == 0.5 and tag.row["evidence"] == {"command": "evil"}
    [clipped] = judge([rule], R9001=Verdict("clipped", 0.2)).judge(command("evil"), Past())
    assert clipped.row["confidence"] == 0.2 and clipped.row["uuid"] == tag.row["uuid"]
    assert judge([rule], R9001=Verdict("disabled")).judge(command("evil"), Past()) == []


def test_ttp_loading_twice_gives_the_same_object() -> None:
    assert load_shared() is SHARED and isinstance(SHARED, Shared)
    assert Attack.load() == SHARED.attack
