"""Values that name code: modules to import, functions to call, what a worker runs."""

from __future__ import annotations

import re
from typing import Any

from zygote.fleet.values import Fault, text, texts

_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def modules(value: Any) -> tuple[str, ...]:
    """Names of modules to import."""
    found = texts(value)
    for index, name in enumerate(found):
        at = (index,) if isinstance(value, list) else ()
        if ":" in name:
            raise Fault(
                "a module is wanted, not a function", "functions to call go into `warm`", at=at
            )
        if not _MODULE.fullmatch(name):
            raise Fault("not a module's name", _module_hint(name), at=at)
    return found


def functions(value: Any) -> tuple[str, ...]:
    """Functions to call: "module:function"."""
    found = texts(value)
    for index, name in enumerate(found):
        module, colon, function = name.partition(":")
        if not colon or not _MODULE.fullmatch(module) or not _MODULE.fullmatch(function):
            raise Fault(
                "not a function's name",
                f'"module:function", such as "{module or "module"}:warm"',
                at=(index,) if isinstance(value, list) else (),
            )
    return found


def run(value: Any) -> tuple[str, str]:
    """(kind, target) of what a worker runs; a file's path is still as written."""
    target = text(value)
    if not target:
        raise Fault("it is empty", _RUN_HINT)
    if "/" in target or target.endswith(".py"):
        return "file", target
    # %i stands for an instance's name, which may be a part of a module's.
    named = target.replace("%i", "i")
    module, colon, function = named.partition(":")
    if not _MODULE.fullmatch(module) or (colon and not _MODULE.fullmatch(function)):
        raise Fault("neither a module, a function nor a file", _run_hint(target))
    return ("function" if colon else "module"), target


_RUN_HINT = '"package.module", "package.module:function", or a file: "./worker.py"'


def _run_hint(target: str) -> str:
    words = target.split()
    if words and words[0].startswith("python"):
        words = words[1:]
    if words and words[0] == "-m":
        words = words[1:]
    if words and words != [target]:
        rest = ", ".join(f'"{word}"' for word in words[1:])
        return f'run = "{words[0]}"' + (f" and args = [{rest}]" if rest else "")
    return _RUN_HINT


def _module_hint(name: str) -> str:
    plain = name.removesuffix(".py").strip("./").replace("/", ".").replace("-", "_")
    return f'did you mean "{plain}"?' if _MODULE.fullmatch(plain) else 'such as "package.module"'
