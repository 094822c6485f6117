"""Parts of the bake that need no process of their own."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path

import pytest

from zygote.audit.blame import Ledger
from zygote.bake import pipeline, selftest
from zygote.bake.stage import Bake, Skipped, Stage
from zygote.bake.usercode import text_of
from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec


def bake() -> Bake:
    return Bake(
        ZygoteSpec("floor"),
        -1,
        lambda stage, detail: None,
        lambda: None,
        dict,
        list,
        lambda work, then: [{}, {}],
    )


def skip(_bake: Bake) -> str:
    raise Skipped("not here")


def done(_bake: Bake) -> str:
    return "done"


def fail(_bake: Bake) -> str:
    raise LookupError("lost")


def stop(_bake: Bake) -> str:
    raise ZygoteError("no")


def test_pipeline_reports_done_and_skipped_stages() -> None:
    told: list[str] = []
    made = Bake(
        ZygoteSpec("floor"),
        -1,
        lambda stage, detail: told.append(stage),
        lambda: None,
        set,
        list,
        lambda work: set(),
    )
    stages = (Stage("one", lambda _: "5 things"), Stage("two", skip))
    report = pipeline.run(made, stages)
    assert [(s["name"], s["detail"]) for s in report["stages"]] == [("one", "5 things")]
    assert report["skipped"] == [{"name": "two", "why": "not here"}]
    assert told == ["one", "two"]


def test_pipeline_stops_at_an_error() -> None:
    with pytest.raises(ZygoteError):
        pipeline.run(bake(), (Stage("one", stop), Stage("two", skip)))


def test_pipeline_names_are_unique_and_the_heap_is_settled_last() -> None:
    names = [stage.name for stage in pipeline.STAGES]
    assert len(set(names)) == len(names)
    assert names[-4:] == ["final audit", "keep", "seal", "collapse"]


def test_selftest_agrees_with_the_version() -> None:
    found = selftest.immortal_counts()
    assert isinstance(found, str) == (sys.version_info < (3, 12)), found


needs_immortals = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="no immortal reference counts before Python 3.12"
)


@needs_immortals
@pytest.mark.parametrize("wrong", [1 << 20, 0xFFFFFFFF ^ 0x80000000])
def test_selftest_refuses_a_count_that_this_version_does_not_keep(wrong: int) -> None:
    assert not selftest._holds(selftest.Counts(wrong))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before Python 3.14 the count says it all")
def test_selftest_refuses_a_count_without_its_flag() -> None:
    """What calls return would be counted down at each use."""
    assert not selftest._holds(selftest.Counts(3 << 30, 7 << 29))


@needs_immortals
@pytest.mark.parametrize("said", [True, False])
def test_selftest_refuses_where_the_interpreter_itself_disagrees(
    monkeypatch: pytest.MonkeyPatch, said: bool
) -> None:
    """`sys._is_immortal` of 3.14: it must say no before, and yes after."""
    monkeypatch.setattr(sys, "_is_immortal", lambda thing: said, raising=False)
    assert isinstance(selftest.immortal_counts(), str)


@needs_immortals
def test_selftest_agrees_where_the_interpreter_does(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = selftest.immortal_counts()
    assert not isinstance(counts, str)
    told = lambda thing: counts.words[id(thing) >> 2] >= counts.immortal  # noqa: E731
    monkeypatch.setattr(sys, "_is_immortal", told, raising=False)
    assert not isinstance(selftest.immortal_counts(), str)


def test_selftest_refuses_free_threaded_builds_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selftest.sysconfig, "get_config_var", lambda name: 1)
    assert "free-threaded" in str(selftest.immortal_counts())
    with pytest.raises(ZygoteError, match="free-threaded") as raised:
        selftest.check_build("floor", "fleet.toml:7")
    assert "[zygote.floor]" in raised.value.hint
    assert raised.value.place == "fleet.toml:7"


def test_pipeline_counts_a_fault_of_an_optional_stage_as_skipped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    report = pipeline.run(bake(), (Stage("one", fail, optional=True), Stage("two", done)))
    why = "LookupError: lost (see the zygote's log)"
    assert report["skipped"] == [{"name": "one", "why": why}]
    assert [stage["name"] for stage in report["stages"]] == ["two"]
    assert "in fail" in capfd.readouterr().err


def test_pipeline_stops_at_a_fault_of_a_stage_that_must_be() -> None:
    with pytest.raises(LookupError):
        pipeline.run(bake(), (Stage("one", fail), Stage("two", done)))


def test_pipeline_stops_at_an_error_that_an_optional_stage_means() -> None:
    with pytest.raises(ZygoteError):
        pipeline.run(bake(), (Stage("one", stop, optional=True),))


def test_pipeline_stages_that_look_and_run_the_fleets_code_must_be() -> None:
    must = [stage.name for stage in pipeline.STAGES if not stage.optional]
    assert must == ["audit", "warm", "collect", "final audit"]


def test_text_of_leaves_out_our_frames_everywhere() -> None:
    def fail() -> None:
        raise LookupError("inner")

    try:
        try:
            fail()
        except LookupError as error:
            raise OSError("outer") from error
    except OSError as error:
        whole = "".join(traceback.format_exception(error))
        assert __file__ in whole
        text = text_of(error, __file__)
    assert __file__ not in text
    assert "LookupError: inner" in text
    assert "OSError: outer" in text


def test_ledger_blames_the_innermost() -> None:
    ledger = Ledger()
    stop_it = threading.Event()
    thread = threading.Thread(target=stop_it.wait)
    with ledger.during("outer"):
        with ledger.during("inner"):
            thread.start()
        with open(__file__) as file:
            number = file.fileno()
            with ledger.during("later"):
                pass
    stop_it.set()
    thread.join()
    assert ledger.threads[thread.native_id or 0] == "inner"
    assert ledger.fds[number, __file__] == "outer"


def test_ledger_brackets_imports_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blamed_module.py").write_text("KEPT = open(__file__)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    ledger, finders = Ledger(), list(sys.meta_path)
    with ledger.imports():
        import blamed_module  # type: ignore[import-not-found]
    try:
        assert list(ledger.fds.values()) == ["blamed_module"]
        assert "exec_module" not in vars(blamed_module.__loader__)
        assert sys.meta_path == finders
    finally:
        blamed_module.KEPT.close()
        del sys.modules["blamed_module"]
