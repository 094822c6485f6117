"""What is wrong with a rule file: file, rule, key, value, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from decnet.collect.text import clean, cut
from zygote.errors import ZygoteError

FAULTS_MOST = 20
_REMEDY = {
    "missing": "add it",
    "extra_forbidden": "remove it, or correct its spelling",
    "string_type": "write a text, in quotes where YAML reads something else",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "list_type": "write a list",
    "dict_type": "write keys and values",
    "model_type": "write keys and values",
    "model_attributes_type": "write keys and values",
    "too_short": "write at least one",
    "too_long": "write fewer",
    "string_too_long": "shorten it",
    "string_too_short": "write something",
    "greater_than_equal": "write a greater number",
    "less_than_equal": "write a smaller number",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong. `value` is shortened and printable."""

    file: str
    rule: str
    key: str
    value: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.rule, self.key) if part)
        value = f" (is {self.value})" if self.value else ""
        return f"{where}: {self.problem}{value}; {self.remedy}"


class RuleFileError(ZygoteError):
    """A rule file that is not used; `faults` are all that was found, at most `FAULTS_MOST`."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)[:FAULTS_MOST]
        first = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        message = str(first).removesuffix(f"; {first.remedy}") + more
        super().__init__(message, code="ttp-rules", hint=first.remedy, place=first.file)


def of_validation(file: str, rule: str, error: ValidationError) -> list[Fault]:
    """All of pydantic's findings."""
    return [_fault(file, rule, found) for found in error.errors(include_url=False)]


def said(value: Any) -> str:
    """A value as a person wrote it, short."""
    if value is None or isinstance(value, dict | list):
        return "" if value is None else cut(clean(repr(value)[:200]), 60)[0]
    return cut(clean(repr(value)[:200]), 80)[0]


def _fault(file: str, rule: str, found: Mapping[str, Any]) -> Fault:
    context = found.get("ctx") or {}
    key = ".".join(str(part) for part in found["loc"])
    missing = found["type"] == "missing"
    return Fault(
        file=file,
        rule=rule,
        key=key,
        value="" if missing else said(found.get("input")),
        problem=found["msg"].lower() if missing else found["msg"],
        remedy=str(context.get("remedy") or _REMEDY.get(found["type"], "see the shipped rules")),
    )
