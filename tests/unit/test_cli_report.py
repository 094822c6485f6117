"""An error on the screen, and as JSON."""

from __future__ import annotations

import json

import pytest

from zygote.cli import report, results
from zygote.cli.context import current
from zygote.control.interface import Result
from zygote.errors import Exit, ZygoteError

ERROR = ZygoteError(
    "cannot start 'web': uid: Operation not permitted (EPERM)",
    code="spawn-failed", hint="see zygotectl logs web", place="fleet.toml:31", errno=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "program", "shopctl")
    monkeypatch.setattr(current, "json", False)


def test_report_has_fault_hint_and_place() -> None:
    assert report.text(ERROR) == (
        "shopctl: cannot start 'web': uid: Operation not permitted (EPERM)\n"
        "  hint: see shopctl logs web (fleet.toml:31)\n"
    )


def test_report_place_without_a_hint() -> None:
    assert report.text(ZygoteError("no", place="f:1")) == "shopctl: no (f:1)\n"
    assert report.text(ZygoteError("f:1: no", place="f:1")) == "shopctl: f:1: no\n"


def test_report_is_clean() -> None:
    assert "\x1b" not in report.text(ZygoteError("a\x1b[2Jb", hint="\x1b]0;x\x07"))


def test_report_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(current, "json", True)
    assert report.show(ERROR) == Exit.FAILED
    out, err = capsys.readouterr()
    assert err == ""
    said = json.loads(out)["error"]
    assert (said["code"], said["errno_name"], said["place"]) == (
        "spawn-failed", "EPERM", "fleet.toml:31",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [
        ([None, None], Exit.DONE),
        ([None, "no-such-worker"], Exit.NO_SUCH_WORKER),
        (["not-running", "not-running"], Exit.NOT_RUNNING),
        (["not-running", "no-such-worker"], Exit.FAILED),
        (["spawn-failed"], Exit.FAILED),
        (["template"], Exit.USAGE),
        ([], Exit.DONE),
    ],
)
def test_results_exit_code(codes: list[str | None], exit_code: int) -> None:
    found = [Result(f"w{n}", code is None, code=code or "") for n, code in enumerate(codes)]
    assert results.exit_code(found) == exit_code


def test_results_error_names_its_worker() -> None:
    assert results.as_error(Result("web", False, error="exited(1)")).message == "web: exited(1)"
    told = results.as_error(Result("web", False, state="backoff"))
    assert told.message == "'web' is backoff"
