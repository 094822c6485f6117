"""What pydantic found, said in the file's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from zygote.fleet.locate import Path
from zygote.fleet.problems import Problems
from zygote.fleet.schema import TABLES, Table, systemd_words
from zygote.fleet.values import Fault, kind_of
from zygote.fleet.words import OTHER_WORDS, RLIMITS, closest, listed
from zygote.units import UnitError

HELP = "`zygotectl help fleet-file` lists all keys"


def validate(
    table: type[Table], raw: Any, path: Path, problems: Problems
) -> tuple[dict[str, Any], frozenset[str]]:
    """The good values of a table, and the keys with bad ones; all faults go into `problems`.

    The good ones are returned in spite of the others, so that all of a file is checked at once.
    """
    if not isinstance(raw, Mapping):
        problems.error(
            path,
            f"a table is wanted, not {kind_of(raw)}",
            hint=f"[{'.'.join(str(part) for part in path)}] on a line of its own, its keys below",
            code="wrong-type",
            value=raw,
        )
        return {}, frozenset(table.model_fields)
    bad: set[str] = set()
    while True:
        try:
            model = table.model_validate({k: v for k, v in raw.items() if k not in bad})
        except ValidationError as error:
            for each in error.errors(include_url=False):
                bad.add(str(each["loc"][0]))
                _explain(table, dict(each), path, problems)
        else:
            return {name: getattr(model, name) for name in model.model_fields_set}, frozenset(bad)


def _explain(table: type[Table], error: dict[str, Any], path: Path, problems: Problems) -> None:
    where = (*path, *error["loc"])
    value, kind = error["input"], error["type"]
    context = error.get("ctx", {})
    fault = context.get("error")
    if isinstance(fault, Fault):
        inner = _into(value, fault.at)
        problems.error((*where, *fault.at), fault.message, hint=fault.hint, code=fault.code,
                       value=inner)  # fmt: skip
    elif isinstance(fault, UnitError):
        problems.error(where, fault.message, hint=fault.hint, code=fault.code, value=value)
    elif kind == "extra_forbidden":
        unknown_key(table, str(error["loc"][0]), path, problems)
    elif kind == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        guess = closest(str(value), words)
        hint = (
            "one of "
            + listed(f'"{word}"' for word in words)
            + (f'; did you mean "{guess}"?' if guess else "")
        )
        problems.error(where, "not one of its words", hint=hint, code="bad-value", value=value)
    elif kind in _BOUNDS:
        words_, name = _BOUNDS[kind]
        problems.error(where, f"it must be {words_} {context[name]}", hint=_range(table, error),
                       code="out-of-range", value=value)  # fmt: skip
    else:
        wanted = "true or false" if "bool" in kind else "a whole number"
        problems.error(where, f"{wanted} is wanted, not {_kind(value)}",
                       hint=_type_hint(wanted, value), code="wrong-type", value=value)  # fmt: skip


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}


def unknown_key(table: type[Table], name: str, path: Path, problems: Problems) -> None:
    """A key that the table does not have: what was meant, and where it belongs."""
    plain = name.lower().replace("-", "_")
    guess = systemd_words().get(plain) or OTHER_WORDS.get(plain) or ""
    limit = plain.removeprefix("limit")
    if limit != plain and limit in RLIMITS:
        hint = f"here it is rlimits = {{ {limit} = … }}"
    elif guess in table.model_fields:
        hint = f"here it is called {guess}"
    elif guess and guess != name:
        hint = f"here it is called {guess}, a key of {_homes(guess)}"
    elif near := closest(name, table.model_fields):
        hint = f"did you mean {near}?"
    elif homes := _homes(name):
        hint = f"it is a key of {homes}"
    else:
        hint = HELP
    problems.error((*path, name), "unknown key", hint=hint, code="unknown-key")


def unknown_table(name: str, value: Any, problems: Problems) -> None:
    """Something at the top of the file that is none of its tables."""
    near = closest(name, TABLES)
    if homes := _homes(name):
        hint = f"it is a key of {homes}; a table's keys stand below its [header]"
    elif near:
        hint = f"did you mean [{near}{'.NAME' if near in ('worker', 'zygote') else ''}]?"
    elif name.lower() in ("service", "services", "program", "programs", "process", "unit"):
        hint = "workers are called so: [worker.NAME]"
    else:
        hint = "the tables are [fleet], [zygote.NAME], [defaults] and [worker.NAME]"
    what = f"unknown table [{name}]" if isinstance(value, dict | list) else f"unknown key {name}"
    problems.error((name,), what, hint=hint, code="unknown-key", about=())


def _homes(name: str) -> str:
    """The tables that have such a key: "[worker.NAME] and [defaults]"."""
    found = [
        f"[{table}.NAME]" if table in ("zygote", "worker") else f"[{table}]"
        for table, model in TABLES.items()
        if name in model.model_fields
    ]
    return " and ".join(found)


def _range(table: type[Table], error: dict[str, Any]) -> str:
    """`1 to 10000`, from the bounds that the field has."""
    bounds = table.model_fields[str(error["loc"][0])].metadata
    low = next((b.ge for b in bounds if getattr(b, "ge", None) is not None), None)
    high = next((b.le for b in bounds if getattr(b, "le", None) is not None), None)
    return f"{low} to {high}"


def _type_hint(wanted: str, value: Any) -> str:
    if wanted == "true or false":
        return "write true or false, without quotes"
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return f"without quotes: {value.strip()}"
    return "such as 10, without quotes"


def _kind(value: Any) -> str:
    return "a fraction" if isinstance(value, float) else kind_of(value)


def _into(value: Any, at: Path) -> Any:
    for part in at:
        value = value[part]
    return value
