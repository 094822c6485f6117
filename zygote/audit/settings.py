"""Rules `signal`, `timer`, `tracer`, `process-state`: settings that an import changed.

A worker starts with signals as a fresh interpreter has them, and a clone has no timers: what was
set here is lost there, while a timer would strike the zygote itself. Limits, CPUs and the nice
value are inherited by every worker that asks for none of its own.
"""

from __future__ import annotations

from zygote.audit import state
from zygote.audit.blame import Ledger
from zygote.audit.report import Finding


def look(ledger: Ledger) -> list[Finding]:
    """One finding for each setting that is not as it was at first."""
    changes = state.Settings.now().changes(ledger.first)
    found = [
        Finding(
            rule,
            f"{name}: {what}" if rule == "signal" else what,
            module=ledger.settings.get((rule, name), ""),
        )
        for (rule, name), what in changes.items()
    ]
    now, first = state.native(), ledger.native
    for name in state.caught_natively(now.get("caught", 0), first.get("caught", 0)):
        found.append(Finding("signal", f"{name}: a handler of native code"))
    if now["timers"] > first["timers"]:
        count = now["timers"] - first["timers"]
        found.append(Finding("timer", f"{count} POSIX timers (timer_create)"))
    if now["oom_score_adj"] != first["oom_score_adj"]:
        was = first["oom_score_adj"]
        what = f"oom_score_adj {now['oom_score_adj']} (was {was})"
        found.append(Finding("process-state", what))
    return found
