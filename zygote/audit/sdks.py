"""Rule `sdk`: libraries that watch the program and were started while the floor was imported.

They show no thread yet: it comes with the first event. What they have set up (transports, queues,
identifiers of this process) is then the zygote's in every worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from zygote.audit import known
from zygote.audit.atexits import RECORDED
from zygote.audit.report import Finding


def look() -> list[Finding]:
    """One finding for each that is active. Asks only modules that are loaded."""
    found = []
    for name, is_active in _ACTIVE.items():
        module: Any = sys.modules.get(name)
        try:
            active = module is not None and is_active(module)
        except Exception:  # a version that we do not know
            active = False
        if active:
            library = known.find(name)
            what = f"{library.name if library else name} was started"
            found.append(Finding("sdk", what, remedy=known.remedy(name), module=_starter(library)))
    return found


def _starter(library: known.Known | None) -> str:
    """Whose import did it, told by the exit callbacks that these libraries register."""
    for entry in RECORDED:
        if library is not None and known.find(entry.module) is library:
            return entry.importer
    return ""


_ACTIVE: dict[str, Callable[[Any], bool]] = {
    "sentry_sdk": lambda sdk: bool(sdk.get_client().is_active()),
    "opentelemetry.trace": lambda trace: trace._TRACER_PROVIDER is not None,
    "ddtrace.tracer": lambda tracer: bool(tracer.enabled),
    "newrelic.config": lambda config: bool(config._initialized),
}
