"""A finding of the audit, and the judgement over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec

RULES = ("thread", "socket", "fd", "loop", "child-process", "sqlite")
"""Stable names, the keys of `allow` in [zygote.NAME]."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One hazard in a floor.

    Attributes:
        rule: one of `RULES`.
        what: what was found: "thread 'sampler' (id 312)".
        why: what it would do to a worker.
        remedy: what to do instead.
        module: the module whose import, or the warm-up whose run, made it; "" if not known.
        allowed: the reason given in `allow`; "" if it is not allowed.
    """

    rule: str
    what: str
    why: str
    remedy: str
    module: str = ""
    allowed: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For the bake's report (keys are stable)."""
        return asdict(self)

    def __str__(self) -> str:
        blame = f", made by {self.module}" if self.module else ""
        return f"{self.what}{blame}: {self.why}"


def judge(spec: ZygoteSpec, found: Iterable[Finding]) -> list[Finding]:
    """The accepted findings.

    Raises:
        ZygoteError: code "audit-refused", when one is not allowed; `findings` of the error are
            all of them.
    """
    accepted: list[Finding] = []
    refused: list[Finding] = []
    for finding in found:
        reason = spec.allow.get(finding.rule, "")
        (accepted if reason else refused).append(replace(finding, allowed=reason))
    if not refused:
        return accepted
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
    error.findings = refused + accepted
    raise error


class AuditRefusedError(ZygoteError):
    """The floor is not safe to clone."""

    findings: list[Finding]
