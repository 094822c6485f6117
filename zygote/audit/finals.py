"""Rule `exit-callback`: what imports left to be done when the process ends.

A worker runs the callbacks that the program itself registers, and those of the standard library.
What a library registered while the floor was imported belongs to the zygote: a client that the
worker never opened would be closed, a folder that all share be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zygote.audit import known
from zygote.audit.atexits import RECORDED, Registration
from zygote.audit.report import Finding


def look(registered: Iterable[Registration] = RECORDED) -> list[Finding]:
    """One finding for each module that registered callbacks of its own."""
    by_module: dict[str, dict[str, str]] = {}
    for entry in registered:
        if not entry.standard:
            module = entry.importer or entry.module
            name = _name(entry.function).removeprefix(f"{module}.")
            by_module.setdefault(module, {})[name] = entry.module
    return [
        Finding(
            "exit-callback",
            f"registers {', '.join(names)} to run at exit",
            remedy=known.remedy(*names.values(), module),
            module=module,
        )
        for module, names in by_module.items()
    ]


def _name(function: Any) -> str:
    owner = getattr(function, "__module__", None) or type(function).__module__
    return f"{owner}.{getattr(function, '__qualname__', type(function).__qualname__)}"
