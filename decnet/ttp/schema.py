"""What stands in a rule file, checked key by key. A file is a YAML list of rules.

    - rule_id: R0001
      rule_version: 1
      name: Password guessing
      description: One account, many passwords.
      applies_to: [auth_attempt]
      match: {lifter: burst, with: {threshold: 8, window_s: 300, same: principal,
              distinct: [secret_printable]}}
      emits: {tactic: TA0006, technique_id: T1110, sub_technique_id: T1110.001, confidence: 0.8}
      evidence_fields: [principal]
      fires: [{fields: {principal: root, secret_printable: "p{n}"}, repeat: 9}]
      not: [{fields: {principal: root, secret_printable: same}, repeat: 9}]

`match` is one of: `field` and `regex` (and `unless`), a list of these under `any` or `all`, or a
`lifter` `with` its parameters; and, for any of them, `services` that it is limited to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from decnet.ttp.event import EVENT_TYPES
from decnet.ttp.lifters import matching
from decnet.ttp.lifters_rows import LIFTERS
from decnet.ttp.patterns import PATTERN_MOST

Kind = Literal[
    "command",
    "auth_attempt",
    "http_request",
    "payload",
    "session",
    "credential",
    "email",
    "intel",
    "identity",
    "canary_fingerprint",
    "http_fingerprint",
    "ipv6_leak",
    "behavior",
]
EMAIL_EVIDENCE = frozenset(
    {
        *("from_domain", "rcpt_domains", "rcpt_count", "link_domains", "header_names"),
        *("sha256", "body_sha256", "attachment_sha256", "attachment_count", "size_bytes"),
    }
)
"""Of a mail only this may be kept: no address, no subject, no body."""
SECRET = frozenset({"secret_b64", "secret_printable", "password", "authorization", "cookie"})
Text = Annotated[str, Field(min_length=1, max_length=500)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
Fields = FieldName | Annotated[list[FieldName], Field(min_length=1, max_length=20)]
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class PatternModel(BaseModel):
    """One or more fields and a pattern; `unless` takes a match back."""

    model_config = STRICT

    field: Fields
    regex: Annotated[str, Field(min_length=1, max_length=PATTERN_MOST)]
    unless: Annotated[str, Field(max_length=PATTERN_MOST)] | None = None

    @field_validator("regex", "unless")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        return None if value is None else matching(value)


class MatchModel(BaseModel):
    """How an event is recognised."""

    model_config = STRICT

    field: Fields | None = None
    regex: str | None = None
    unless: str | None = None
    any: Annotated[list[PatternModel], Field(min_length=1, max_length=20)] | None = None
    all: Annotated[list[PatternModel], Field(min_length=1, max_length=20)] | None = None
    lifter: str | None = None
    with_: Annotated[dict[str, Any], Field(alias="with")] = {}
    services: Annotated[list[str], Field(max_length=50)] = []

    @model_validator(mode="after")
    def _one_way(self) -> MatchModel:
        ways = [self.field or self.regex, self.any, self.all, self.lifter]
        if sum(way is not None for way in ways) != 1:
            raise PydanticCustomError(
                "one_way",
                "matches in no way, or in several at once",
                {"remedy": "give one of: field and regex, any, all, lifter"},
            )
        if self.field or self.regex:
            _inner(PatternModel, {"field": self.field, "regex": self.regex, "unless": self.unless})
        if self.lifter is not None:
            if self.lifter not in LIFTERS:
                raise PydanticCustomError(
                    "lifter",
                    "no lifter of this name: {name}",
                    {"name": self.lifter, "remedy": f"write one of {', '.join(LIFTERS)}"},
                )
            _inner(LIFTERS[self.lifter], self.with_, "with.")
        return self


def _inner(model: type[BaseModel], values: dict[str, Any], prefix: str = "") -> None:
    """Check a part whose model follows from another key; its first fault as one of ours."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        context = first.get("ctx") or {}
        raise PydanticCustomError(
            "inner",
            "{key}: {problem}",
            {
                "key": prefix + ".".join(str(part) for part in first["loc"]),
                "problem": first["msg"],
                "remedy": context.get("remedy", f"the keys are {', '.join(model.model_fields)}"),
            },
        ) from error


class EmitModel(BaseModel):
    """What a match means."""

    model_config = STRICT

    tactic: Annotated[str, Field(pattern=r"^TA\d{4}$")]
    technique_id: Annotated[str, Field(pattern=r"^T\d{4}$")]
    sub_technique_id: Annotated[str, Field(pattern=r"^T\d{4}\.\d{3}$")] | None = None
    confidence: Annotated[float, Field(ge=0, le=1)]


class ExampleModel(BaseModel):
    """An event, or `repeat` of them `every_s` seconds apart; `{n}` in a text counts them.

    `then` changes the fields of the last one, which is the one that is judged.
    """

    model_config = STRICT

    kind: Kind | None = None
    service: str = "ssh"
    fields: dict[str, str] = {}
    data: dict[str, Any] = {}
    repeat: Annotated[int, Field(ge=1, le=300)] = 1
    every_s: Annotated[float, Field(ge=0)] = 1
    then: dict[str, str] = {}


Example = str | ExampleModel


class RuleModel(BaseModel):
    """One rule."""

    model_config = STRICT

    rule_id: Annotated[str, Field(pattern=r"^R\d{4}$")]
    rule_version: Annotated[int, Field(ge=1, le=1_000_000)]
    name: Text
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    applies_to: Annotated[list[Kind], Field(min_length=1)]
    match: MatchModel
    emits: Annotated[list[EmitModel], Field(min_length=1, max_length=8)]
    evidence_fields: Annotated[list[FieldName], Field(max_length=20)] = []
    fires: Annotated[list[Example], Field(max_length=50)] = []
    not_: Annotated[list[Example], Field(alias="not", max_length=50)] = []

    @field_validator("emits", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _keeps_secrets(self) -> RuleModel:
        named = set(self.evidence_fields)
        if secrets := named & SECRET:
            raise PydanticCustomError(
                "secret",
                "evidence would hold a secret: {names}",
                {"names": ", ".join(sorted(secrets)), "remedy": "leave it out of evidence_fields"},
            )
        lifter = LIFTERS.get(self.match.lifter or "")
        blind = [kind for kind in self.applies_to if not EVENT_TYPES[kind]]
        if lifter is not None and lifter.counts and blind:
            raise PydanticCustomError(
                "blind",
                "{lifter} cannot look back on {kinds}",
                {
                    "lifter": self.match.lifter,
                    "kinds": ", ".join(blind),
                    "remedy": "limit applies_to to command, auth_attempt, http_request, …",
                },
            )
        if "email" in self.applies_to and (private := named - EMAIL_EVIDENCE):
            raise PydanticCustomError(
                "private",
                "evidence of a mail would hold {names}",
                {
                    "names": ", ".join(sorted(private)),
                    "remedy": f"of a mail only {', '.join(sorted(EMAIL_EVIDENCE))} may be kept",
                },
            )
        return self
