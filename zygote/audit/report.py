"""A finding of the audit, and the judgement over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from zygote.audit.rules import REFUSE, TABLE
from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec


@dataclass(frozen=True, slots=True)
class Finding:
    """One hazard in a floor.

    Attributes:
        rule: one of `zygote.audit.rules.RULES`.
        what: what was found: "thread 'sampler' (id 312)".
        why: what it would do to a worker; the rule's own words by default.
        remedy: what to do instead; the rule's own words by default.
        module: the module whose import, or the warm-up whose run, made it; "" if not known.
        allowed: the reason given in `allow`; "" if it is not allowed.
        place: FILE:LINE where it was made, as far as that is heard; never in a bake.
    """

    rule: str
    what: str
    why: str = ""
    remedy: str = ""
    module: str = ""
    allowed: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        for part in ("why", "remedy"):
            if not getattr(self, part):
                object.__setattr__(self, part, getattr(TABLE[self.rule], part))

    @property
    def severity(self) -> str:
        """ "refuse" or "warn"."""
        return TABLE[self.rule].severity

    @property
    def refused(self) -> bool:
        """It stands in the way of a clone."""
        return self.severity == REFUSE and not self.allowed

    def as_dict(self) -> dict[str, Any]:
        """For the bake's report (keys are stable)."""
        return {**asdict(self), "severity": self.severity}

    def __str__(self) -> str:
        blame = f", made by {self.module}" if self.module else ""
        return f"{self.what}{blame}: {self.why}"


def excuse(found: Iterable[Finding], allow: Mapping[str, str]) -> list[Finding]:
    """The findings with the reasons for which some of them are allowed; refused ones first."""
    excused = [replace(finding, allowed=allow.get(finding.rule, "")) for finding in found]
    return sorted(excused, key=lambda finding: not finding.refused)


def explain(findings: Iterable[Finding]) -> list[Finding]:
    """The findings; what one library did in a module has that library's remedy throughout.

    A channel of gRPC shows as an object that tells its type, and as threads, sockets and eventfds
    that do not. And a thread that waits does so in a lock that is held, which is left out.
    """
    findings = list(findings)
    threaded = {finding.module for finding in findings if finding.rule == "thread"}
    findings = [f for f in findings if f.rule != "held-lock" or f.module not in threaded]
    told: dict[str, set[str]] = {}
    for finding in findings:
        if finding.module and finding.remedy != TABLE[finding.rule].remedy:
            told.setdefault(finding.module, set()).add(finding.remedy)
    return [
        replace(finding, remedy=next(iter(remedies)))
        if finding.rule in _SILENT
        and finding.remedy == TABLE[finding.rule].remedy
        and len(remedies := told.get(finding.module, set())) == 1
        else finding
        for finding in findings
    ]


_SILENT = ("thread", "socket", "fd", "child-process")
"""Rules of the kernel's things, which do not tell what they belong to."""


def judge(spec: ZygoteSpec, found: Iterable[Finding]) -> list[Finding]:
    """The accepted findings: warnings, and what the fleet file allows.

    Raises:
        ZygoteError: code "audit-refused", when one is not allowed; `findings` of the error are
            all of them.
    """
    findings = excuse(found, spec.allow)
    refused = [finding for finding in findings if finding.refused]
    if not refused:
        return findings
    first = refused[0]
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    error = AuditRefusedError(
        f"cannot bake zygote '{spec.name}': {first}{more}",
        code="audit-refused",
        step="audit",
        place=spec.place,
        hint=f"{first.remedy}; or accept it: "
        f'allow = {{ {first.rule} = "why this is safe" }} in [zygote.{spec.name}]',
    )
    error.findings = findings
    raise error


class AuditRefusedError(ZygoteError):
    """The floor is not safe to clone."""

    findings: list[Finding]
