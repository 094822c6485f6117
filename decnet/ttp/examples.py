"""A rule's examples as events: for the tests of the shipped rules, and for an operator's own.

`decnetctl ttp check FILE` says which example of a rule does not do what it is there for.
"""

from __future__ import annotations

import datetime as dt

import yaml

from decnet.ttp.event import Event, derive
from decnet.ttp.lifters import Past
from decnet.ttp.rules import Rule
from decnet.ttp.schema import Example, ExampleModel, RuleModel

START = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
_FIELD = {"command": "command", "auth_attempt": "principal", "email": "subject"}


def failures(rule: Rule) -> list[str]:
    """Examples that do not do what they are there for, each as a sentence; all is well if none."""
    model = RuleModel.model_validate(yaml.safe_load(rule.content))
    wrong = []
    for expected, examples in ((True, model.fires), (False, model.not_)):
        for example in examples:
            if fires(rule, model, example) != expected:
                does = "does not fire" if expected else "fires"
                wrong.append(f"{rule.id} {does} on {str(example)[:200]}")
    return wrong


def fires(rule: Rule, model: RuleModel, example: Example) -> bool:
    """Whether the rule matches the example's last event."""
    events = events_of(model, example)
    past = Past(events[:-1])
    last = events[-1]
    return last.kind in rule.kinds and rule.find(last, past) is not None


def events_of(model: RuleModel, example: Example) -> list[Event]:
    """The example's events, oldest first."""
    if isinstance(example, str):
        example = _of_text(model, example)
    kind = example.kind or model.applies_to[0]
    made = []
    for number in range(example.repeat):
        fields = example.fields | (example.then if number == example.repeat - 1 else {})
        fields = {name: text.replace("{n}", str(number)) for name, text in fields.items()}
        fields.setdefault("service", example.service)
        made.append(
            Event(
                kind=kind,
                id=str(number + 1),
                time=START + dt.timedelta(seconds=number * example.every_s),
                fields=derive(kind, fields),
                attacker_ip="192.0.2.1",
                service=example.service,
                number=number + 1,
                data=dict(example.data),
            )
        )
    return made


def _of_text(model: RuleModel, text: str) -> ExampleModel:
    """A bare text is a command, or the address of a request, or the data of a payload."""
    kind = model.applies_to[0]
    if kind == "http_request" or (kind == "payload" and text.startswith("/")):
        path, _, query = text.partition("?")
        return ExampleModel(
            kind="http_request",
            service="http",
            fields={"method": "GET", "path": path, "query": query},
        )
    return ExampleModel(kind=kind, fields={_FIELD.get(kind, "data"): text})
