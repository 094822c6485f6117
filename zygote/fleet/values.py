"""The values of a fleet file's keys, one kind a function: from TOML's to ours, or a `Fault`.

Every function takes whatever TOML can hold and returns what the model wants, or says what is wrong
and what would be right. Which key it was, and where, is added by whoever calls the schema.
"""

from __future__ import annotations

import math
import re
import resource
import signal
from typing import Any

from zygote.fleet.words import (
    CAPABILITIES,
    RLIMITS,
    RLIMITS_IN_BYTES,
    did_you_mean,
    listed,
)
from zygote.units import UnitError, parse_bytes, parse_seconds

WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:@[A-Za-z0-9_.-]*)?")
ZYGOTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NAME_MAX = 100
_CLASS_MAX = 50
_VARIABLE = re.compile(r"[^=\0]+")
_INFINITY = ("infinity", "unlimited", "none")


class Fault(ValueError):
    """What is wrong with a value; `at` leads further into it (the index of a list's item)."""

    def __init__(
        self, message: str, hint: str, *, code: str = "bad-value", at: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.at = at


def text(value: Any, at: tuple[str | int, ...] = ()) -> str:
    """Text in quotes."""
    if not isinstance(value, str):
        shown = str(value).lower() if isinstance(value, bool) else value
        usable = isinstance(value, int | float | bool)
        raise Fault(
            f"text is wanted, not {kind_of(value)}",
            f'in quotes: "{shown}"' if usable else 'text stands in quotes: "…"',
            code="wrong-type",
            at=at,
        )
    if "\0" in value:
        raise Fault("it holds a NUL character", "no text of a process can", at=at)
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of text; a single one may stand without brackets."""
    if isinstance(value, str):
        return (text(value),)
    if not isinstance(value, list):
        raise Fault(f"a list is wanted, not {kind_of(value)}", '["…", "…"]', code="wrong-type")
    return tuple(text(item, (index,)) for index, item in enumerate(value))


def arguments(value: Any) -> tuple[str, ...]:
    """Arguments: a list only, because a shell's rules are not ours to guess."""
    if isinstance(value, str):
        items = ", ".join(f'"{part}"' for part in value.split())
        raise Fault("a list is wanted, not text", f"one item an argument: [{items}]",
                    code="wrong-type")  # fmt: skip
    return texts(value)


def env(value: Any) -> dict[str, str]:
    """Variables and their values."""
    if not isinstance(value, dict):
        raise Fault(f"a table is wanted, not {kind_of(value)}", 'env = { NAME = "value" }',
                    code="wrong-type")  # fmt: skip
    for name, each in value.items():
        if not _VARIABLE.fullmatch(name):
            raise Fault("no variable can be called so", "a name without = in it", at=(name,))
        text(each, (name,))
    return value


def size(value: Any) -> int:
    """Bytes."""
    found = parse_bytes(value)
    if found == 0:
        raise Fault("it must be more than 0", 'for no limit leave it out or write "infinity"',
                    code="out-of-range")  # fmt: skip
    return found


def size_limit(value: Any) -> int | None:
    """Bytes, or "infinity" to undo a default."""
    return None if is_infinity(value) else size(value)


def count_limit(value: Any) -> int | None:
    """A whole number above 0, or "infinity"."""
    if is_infinity(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(f"a whole number is wanted, not {kind_of(value)}", 'such as 32, or "infinity"',
                    code="wrong-type")  # fmt: skip
    if not 1 <= value <= 2**31 - 1:
        raise Fault("it must be 1 or more", 'for no limit leave it out or write "infinity"',
                    code="out-of-range")  # fmt: skip
    return value


def seconds(value: Any) -> float:
    """A time, 0 included."""
    return parse_seconds(value)


def seconds_above_zero(value: Any) -> float:
    """A time that must not be 0."""
    found = parse_seconds(value)
    if found == 0:
        raise Fault("it must be more than 0", 'such as "30s"', code="out-of-range")
    return found


def seconds_limit(value: Any) -> float | None:
    """A time; 0 or "infinity" is none."""
    return None if is_infinity(value) else parse_seconds(value) or None


def cpus(value: Any) -> float | None:
    """0.5 or "50%": half a CPU."""
    hint = 'CPUs as a number or in percent of one: 0.5 or "50%", 2 or "200%"'
    if is_infinity(value):
        return None
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", value.strip())
        if not match:
            raise Fault("not a share of CPUs", hint, code="bad-unit")
        value = float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Fault(f"a number is wanted, not {kind_of(value)}", hint, code="wrong-type")
    if not 0.01 <= value <= 4096:
        raise Fault("it must be between 0.01 and 4096 CPUs", hint, code="out-of-range")
    return float(value)


def umask(value: Any) -> int:
    """ "0027", or TOML's 0o027."""
    hint = 'octal, in quotes: "0027"'
    if isinstance(value, str):
        if not re.fullmatch(r"(?:0o)?[0-7]{1,4}", value):
            raise Fault("not an octal mode", hint)
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(f"an octal mode is wanted, not {kind_of(value)}", hint, code="wrong-type")
    if not 0 <= value <= 0o777:
        raise Fault("a mask has three octal digits", hint, code="out-of-range")
    return value


def signal_name(value: Any) -> str:
    """ "SIGTERM", "TERM" or 15, as "SIGTERM"."""
    names = [each.name for each in signal.Signals]
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return signal.Signals(value).name
        except ValueError:
            raise Fault("no signal has that number", 'by name: "SIGTERM"') from None
    name = text(value).upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name not in names:
        raise Fault("no such signal", did_you_mean(name, names, "see signal(7) for their names"))
    return name


def affinity(value: Any) -> tuple[int, ...]:
    """CPU numbers: [0, 2], or "0-3,6"."""
    hint = 'CPU numbers: [0, 2] or "0-3,6"'
    found: set[int] = set()
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        at = (index,) if isinstance(value, list) else ()
        if isinstance(item, int) and not isinstance(item, bool):
            found.add(item)
            continue
        if not isinstance(item, str) or not re.fullmatch(
            r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", item
        ):
            raise Fault("not a CPU number", hint, at=at)
        for part in item.split(","):
            first, _, last = part.partition("-")
            if int(last or first) > 4095 or int(first) > int(last or first):
                raise Fault("not a range of CPUs", hint, code="out-of-range", at=at)
            found.update(range(int(first), int(last or first) + 1))
    if not found:
        raise Fault("no CPU at all", hint + "; for all of them leave it out", code="out-of-range")
    if min(found) < 0 or max(found) > 4095:
        raise Fault("CPU numbers are 0 to 4095", hint, code="out-of-range")
    return tuple(sorted(found))


def rlimits(value: Any) -> dict[str, tuple[int, int]]:
    """`{ nofile = 1024, core = [0, "infinity"] }` as (soft, hard); -1 is infinity."""
    if not isinstance(value, dict):
        raise Fault(f"a table is wanted, not {kind_of(value)}", "rlimits = { nofile = 1024 }",
                    code="wrong-type")  # fmt: skip
    return {name: _rlimit(name, each) for name, each in value.items()}


def _rlimit(name: str, value: Any) -> tuple[int, int]:
    if name not in RLIMITS:
        plain = re.sub(r"^(rlimit_|limit)", "", name.lower())
        hint = did_you_mean(plain, RLIMITS, f"one of {listed(RLIMITS, 20)}")
        raise Fault("no such resource limit", hint, code="unknown-key", at=(name,))
    pair = value if isinstance(value, list) else [value, value]
    hint = f'{name} = 1024, {name} = [1024, 4096] (soft, hard), or "infinity"'
    if len(pair) != 2:
        raise Fault("two numbers are wanted, soft and hard", hint, at=(name,))
    soft, hard = (_rlimit_number(name, each, hint) for each in pair)
    if hard != -1 and (soft == -1 or soft > hard):
        raise Fault("the soft limit is above the hard one", hint, code="out-of-range", at=(name,))
    return soft, hard


def _rlimit_number(name: str, value: Any, hint: str) -> int:
    if is_infinity(value) or value == -1:
        return int(resource.RLIM_INFINITY)
    if isinstance(value, str) and name in RLIMITS_IN_BYTES:
        try:
            return parse_bytes(value)
        except UnitError as error:
            raise Fault(error.message, error.hint, code=error.code, at=(name,)) from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Fault("not a limit", hint, at=(name,))
    return value


def account(value: Any) -> str:
    """A user's or group's name, or its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return str(value)
    if not text(value):
        raise Fault("it is empty", "a name or a number; leave the key out to change nothing")
    return str(value)


def accounts(value: Any) -> tuple[str, ...]:
    """Several of them; an empty list is none."""
    return tuple(account(each) for each in (value if isinstance(value, list) else [value]))


def capabilities(value: Any) -> tuple[str, ...]:
    """`["CAP_NET_RAW"]`; CAP_ and capitals are added where missing; [] is none."""
    found = []
    for index, item in enumerate(texts(value)):
        name = item.upper()
        name = name if name.startswith("CAP_") else f"CAP_{name}"
        if name not in CAPABILITIES:
            hint = did_you_mean(name, CAPABILITIES, "see capabilities(7) for their names")
            raise Fault("no such capability", hint, at=(index,) if isinstance(value, list) else ())
        found.append(name)
    return tuple(found)


def isolation(value: Any) -> str:
    """ "none", "exec", or "class:NAME"."""
    word, colon, name = text(value).partition(":")
    if word in ("none", "exec") and not colon:
        return word
    hint = (
        '"class:web" for a zygote of that class\'s own, "exec" for a process of its own, or "none"'
    )
    if word != "class":
        raise Fault("no such isolation", hint)
    if not ZYGOTE_NAME.fullmatch(name) or len(name) > _CLASS_MAX:
        raise Fault(
            "a class has a name" if not name else "a class cannot be called so",
            f'letters, digits, - and _, at most {_CLASS_MAX}: "class:web"',
        )
    return str(value)


def is_infinity(value: Any) -> bool:
    """Whether a limit is written as being none."""
    return isinstance(value, str) and value.lower() in _INFINITY


def kind_of(value: Any) -> str:
    """A TOML value's kind, in words."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text",
             list: "a list", dict: "a table"}  # fmt: skip
    return kinds.get(type(value), "a date or time")
