"""What `status` says of a zygote's audit."""

from __future__ import annotations

from zygote.fleet.model import Run, WorkerSpec, ZygoteSpec
from zygote.manager.findings import lines

SPEC = ZygoteSpec("floor", env={"LEVEL": "info"})
REPORT = {
    "findings": [
        {
            "rule": "thread", "what": "thread 'a'", "why": "missing", "module": "lib",
            "allowed": "it sleeps",
        },
        {
            "rule": "secret", "what": "secrets: TOKEN", "why": "in all", "module": "",
            "allowed": "",
        },
    ],
    "environ_reads": {"LEVEL": ["app.settings"], "ZONE": ["app.clock", "app.times"]},
}  # fmt: skip


def worker(name: str, **env: str) -> WorkerSpec:
    return WorkerSpec(name, zygote="floor", run=Run("module", "app"), env=env)


def test_findings_are_warnings_or_allowed() -> None:
    assert lines(SPEC, REPORT, [], {}) == [
        "allowed thread: lib: thread 'a' (it sleeps)",
        "warning secret: secrets: TOKEN: in all",
    ]


def test_findings_name_workers_whose_variables_come_too_late() -> None:
    workers = [
        worker("same", LEVEL="info", ZONE="UTC"),
        worker("other", LEVEL="debug", UNREAD="1"),
        *(worker(f"zoned{number}", ZONE="CET") for number in range(6)),
    ]
    late = lines(SPEC, {**REPORT, "findings": []}, workers, {"ZONE": "UTC", "LEVEL": "debug"})
    assert late == [
        "warning environ-read: app.settings: reads LEVEL when imported, so env of worker other "
        "comes too late: set it in env of [zygote.floor]",
        "warning environ-read: app.clock, app.times: reads ZONE when imported, so env of worker "
        "zoned0, zoned1, zoned2, zoned3 and 2 more comes too late: set it in env of [zygote.floor]",
    ]
    allowed = ZygoteSpec("floor", allow={"environ-read": "only for logs"})
    assert lines(allowed, {**REPORT, "findings": []}, workers, {}) == []


def test_findings_of_a_zygote_that_is_not_baked_are_none() -> None:
    assert lines(SPEC, {}, [worker("one", LEVEL="x")], {}) == []
