"""`refork`: what a worker must not have if all later workers are to be copies of it."""

from __future__ import annotations

from zygote.fleet.model import WorkerSpec
from zygote.fleet.problems import Problems

_NEVER = (
    "user", "group", "groups", "capabilities", "no_new_privs", "private_network", "private_tmp",
    "read_only_paths", "landlock", "seccomp", "address_families", "rlimits", "nice",
    "oom_score_adj", "cpu_affinity",
)  # fmt: skip
"""What a process cannot take off again, or would hand on."""


def check(spec: WorkerSpec, path: tuple[str | int, ...], problems: Problems) -> None:
    """Errors for what contradicts `refork`."""
    if not spec.refork:
        return
    if not spec.is_copy:
        _refuse(problems, path, "isolation", "it is a copy of no zygote, so it cannot be the next")
    if spec.credentials:
        why = "its credentials would be in the memory of every later worker of its zygote"
        _refuse(problems, path, "credentials", why)
    for key in _NEVER:
        if getattr(spec, key) not in (None, False, (), {}):
            why = "all later workers of its zygote would have it, and could not take it off"
            _refuse(problems, path, key, why)


def _refuse(problems: Problems, path: tuple[str | int, ...], key: str, why: str) -> None:
    problems.error(
        path, f"it cannot be with {key}: {why}",
        hint=f"take refork away, or {key}", code="conflict",
    )  # fmt: skip
