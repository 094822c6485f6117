"""Rules ready to be used, and how they come out of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from decnet.ttp import faults
from decnet.ttp.attack import Attack
from decnet.ttp.event import Event
from decnet.ttp.faults import Fault, RuleFileError
from decnet.ttp.lifters import Finding, Lifter, Past
from decnet.ttp.lifters_rows import LIFTERS
from decnet.ttp.patterns import Condition, compile_pattern
from decnet.ttp.schema import MatchModel, PatternModel, RuleModel

FILE_MOST = 512 << 10
RULES_MOST = 1000
"""In one file."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Emit:
    """What a rule says of an event that it matches. `leaf` is the most exact technique."""

    tactic: str
    technique_id: str
    sub_technique_id: str | None
    confidence: float

    @property
    def leaf(self) -> str:
        return self.sub_technique_id or self.technique_id


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule. Equal `digest`: the same rule, word by word."""

    id: str
    version: int
    name: str
    kinds: frozenset[str]
    services: frozenset[str]
    conditions: tuple[Condition, ...]
    wants_all: bool
    lifter: Lifter | None
    emits: tuple[Emit, ...]
    evidence_fields: tuple[str, ...]
    source: str
    content: str
    digest: str

    def find(self, event: Event, past: Past) -> Finding | None:
        """A finding where the rule matches the event.

        Raises:
            PatternTimeout: it cannot be said within the time.
        """
        if self.services and event.service not in self.services:
            return None
        if self.lifter is not None:
            return self.lifter.find(event, past)
        holds = (condition.holds(event) for condition in self.conditions)
        return Finding() if (all(holds) if self.wants_all else any(holds)) else None

    @property
    def techniques(self) -> list[str]:
        """Ids of all that it emits, the most exact."""
        return [emit.leaf for emit in self.emits]


def read_rules(data: bytes, source: str, attack: Attack) -> list[Rule]:
    """The rules in a file's bytes.

    Args:
        source: the file's name, for messages.
        attack: techniques and tactics that exist.
    Raises:
        RuleFileError: something is wrong anywhere in it: no rule of it is to be used.
    """
    entries = _entries(data, source)
    found: list[Fault] = []
    rules: list[Rule] = []
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        name = _name_of(entry, number)
        try:
            model = RuleModel.model_validate(entry)
        except ValidationError as error:
            found += faults.of_validation(source, name, error)
            continue
        if model.rule_id in seen:
            problem = f"the same id as rule number {seen[model.rule_id]} of this file"
            found.append(
                Fault(source, name, "rule_id", model.rule_id, problem, "give each its own id")
            )
        seen[model.rule_id] = number
        found += _unknown(model, source, attack)
        rules.append(_compile(model, entry, source))
    if found:
        raise RuleFileError(found)
    return rules


def by_kind(rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
    """Which rules look at events of a kind, in the order of their ids."""
    table: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        for kind in rule.kinds:
            table.setdefault(kind, []).append(rule)
    return {kind: tuple(found) for kind, found in table.items()}


def _entries(data: bytes, source: str) -> list[Any]:
    def fail(problem: str, remedy: str, value: str = "") -> RuleFileError:
        return RuleFileError([Fault(source, "", "", value, problem, remedy)])

    if len(data) > FILE_MOST:
        raise fail(f"larger than {FILE_MOST} bytes", "split it", f"{len(data)} bytes")
    try:
        text = data.decode()
        # Aliases make a small file a huge value; no rule needs them.
        for token in yaml.scan(text, Loader=_LOADER):
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise fail("uses a YAML alias", f"write it out in line {line}", f"*{token.value}")
        entries = yaml.load(text, Loader=_LOADER)
    except UnicodeDecodeError as error:
        raise fail(f"not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        what = str(getattr(error, "problem", None) or error)[:160]
        raise fail(f"no YAML{where}: {what}", "correct the syntax") from error
    if not isinstance(entries, list) or not entries:
        raise fail("not a list of rules", "begin each rule with '- rule_id: R….'")
    if len(entries) > RULES_MOST:
        raise fail(f"more than {RULES_MOST} rules", "split it", str(len(entries)))
    return entries


def _name_of(entry: Any, number: int) -> str:
    name = entry.get("rule_id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and len(name) <= 40 else f"rule number {number}"


def _unknown(model: RuleModel, source: str, attack: Attack) -> list[Fault]:
    """Tactics and techniques that do not exist, or do not belong together."""
    found = []

    def add(key: str, value: str, problem: str, remedy: str) -> None:
        found.append(Fault(source, model.rule_id, f"emits.{key}", repr(value), problem, remedy))

    for emit in model.emits:
        leaf = emit.sub_technique_id or emit.technique_id
        technique = attack.techniques.get(leaf)
        key = "sub_technique_id" if emit.sub_technique_id else "technique_id"
        if emit.tactic not in attack.tactics:
            known = ", ".join(attack.tactics)
            add("tactic", emit.tactic, f"no tactic of ATT&CK {attack.release}", f"one of {known}")
        elif technique is None or emit.technique_id not in attack.techniques:
            missing = leaf if technique is None else emit.technique_id
            add(key, missing, f"no technique of ATT&CK {attack.release}", "look it up on its site")
        elif leaf.partition(".")[0] != emit.technique_id:
            parent = leaf.partition(".")[0]
            add(key, leaf, f"no part of {emit.technique_id}", f"write technique_id: {parent}")
        elif emit.tactic not in technique.tactics:
            add(
                "tactic",
                emit.tactic,
                f"{leaf} does not serve this tactic",
                f"write one of {', '.join(technique.tactics)}",
            )
    return found


def _compile(model: RuleModel, entry: Any, source: str) -> Rule:
    match = model.match
    content = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=100)
    return Rule(
        id=model.rule_id,
        version=model.rule_version,
        name=model.name,
        kinds=frozenset(model.applies_to),
        services=frozenset(match.services),
        conditions=_conditions(match),
        wants_all=match.all is not None,
        lifter=LIFTERS[match.lifter].model_validate(match.with_) if match.lifter else None,
        emits=tuple(
            Emit(e.tactic, e.technique_id, e.sub_technique_id, e.confidence) for e in model.emits
        ),
        evidence_fields=tuple(model.evidence_fields),
        source=source,
        content=content,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def _conditions(match: MatchModel) -> tuple[Condition, ...]:
    if match.lifter is not None:
        return ()
    models = match.any or match.all
    if models is None:
        assert match.field is not None and match.regex is not None
        models = [PatternModel(field=match.field, regex=match.regex, unless=match.unless)]
    return tuple(_condition(model) for model in models)


def _condition(model: PatternModel) -> Condition:
    fields = (model.field,) if isinstance(model.field, str) else tuple(model.field)
    compiled: Callable[[str], Any] = compile_pattern
    return Condition(
        fields, compiled(model.regex), compiled(model.unless) if model.unless else None
    )
