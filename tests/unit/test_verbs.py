"""Which workers a name names, and what a changed fleet file changes; nothing is started here."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.support.clock import FakeClock
from tests.support.specs import fleet_of, worker_spec
from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet, Run
from zygote.manager.events import EventLog
from zygote.manager.parts import Parts
from zygote.manager.reload import apply
from zygote.manager.request import House
from zygote.manager.signals import parse_signal
from zygote.manager.state import StateFiles
from zygote.manager.storm import Groups, Pace
from zygote.manager.unit import State
from zygote.manager.verbs import Workers
from zygote.manager.zygotes import Zygotes

DECOY = worker_spec("decoy@", run=Run("module", "decoys.%i"), args=("--name", "%i"))


def parts_of(workers: Workers, folder: Path) -> Parts:
    """Parts with which nothing can be started: only names and specs are looked at."""
    (folder / "state").mkdir(exist_ok=True)
    nothing: Any = Mock()
    return Parts(
        loop=asyncio.get_running_loop(), clock=FakeClock().clock, chance=lambda: 0.0,
        events=EventLog(stream=None), children=nothing, spawner=nothing,
        zygotes=Zygotes(nothing, workers.fleet.zygotes),
        state=StateFiles(folder / "state", lambda line: None), leaves=nothing, logs=nothing,
        house=House("test", "/r", "/r/n", {}), find=workers.find, is_needed=workers.is_needed,
        retry_notify=lambda: None, pace=Pace(0), groups=Groups(), freshness=nothing,
    )  # fmt: skip


def workers_of(fleet: Fleet, folder: Path) -> Workers:
    workers = Workers(fleet)
    workers.bind(parts_of(workers, folder))
    return workers


@pytest.fixture
async def workers(tmp_path: Path) -> Workers:
    fleet = fleet_of(
        worker_spec("bus"), worker_spec("web", after=("bus",)), worker_spec("web-2"),
        templates=(DECOY,),
    )  # fmt: skip
    return workers_of(fleet, tmp_path)


def names(found: list[Any]) -> list[str]:
    return [each.name for each in found]


async def test_workers_are_in_start_order(workers: Workers) -> None:
    assert names(workers.all()) == ["bus", "web", "web-2"]


async def test_match_by_name_glob_and_template(workers: Workers) -> None:
    assert names(workers.match("web")) == ["web"]
    assert names(workers.match("web*")) == ["web", "web-2"]
    assert workers.match("decoy@") == [], "a template without instances names nobody, rightly"
    spec = workers.spec_of("decoy@ssh")
    assert spec is not None
    workers.add(spec)
    assert names(workers.match("decoy@")) == ["decoy@ssh"]
    assert names(workers.match("*")) == ["bus", "web", "web-2", "decoy@ssh"]


async def test_match_unknown_says_what_there_is(workers: Workers) -> None:
    with pytest.raises(ZygoteError) as caught:
        workers.match("wbe")
    assert caught.value.code == "no-such-worker"
    assert caught.value.exit_code == 4
    assert caught.value.hint == "there are: bus, web, web-2, decoy@NAME"


async def test_select_names_each_worker_once(workers: Workers) -> None:
    chosen, wrong = workers.select(["web-2", "w*", "nobody", "bus"])
    assert names(chosen) == ["bus", "web", "web-2"]
    assert names(wrong) == ["nobody"]


async def test_template_instance_has_its_name_filled_in(workers: Workers) -> None:
    spec = workers.spec_of("decoy@ssh")
    assert spec is not None
    assert (spec.name, spec.run.target, spec.args) == (
        "decoy@ssh", "decoys.ssh", ("--name", "ssh"),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["decoy@a/b", "decoy@a b", "decoy@" + "x" * 200, "other@x"])
async def test_template_instance_with_a_bad_name_is_none(workers: Workers, name: str) -> None:
    assert workers.spec_of(name) is None


async def test_start_of_a_bare_template_says_how_to_name_one(workers: Workers) -> None:
    (result,) = await workers.start(["decoy@"])
    assert (result.ok, result.code) == (False, "template")
    assert "decoy@NAME" in result.hint


async def test_stop_of_what_does_not_run_is_done(workers: Workers) -> None:
    results = await workers.stop(["web", "nobody"])
    assert [(r.name, r.ok) for r in results] == [("web", True), ("nobody", False)]


async def test_kill_of_what_does_not_run_says_so(workers: Workers) -> None:
    (result,) = workers.kill(["web"], "USR1")
    assert (result.ok, result.code) == (False, "not-running")


@pytest.mark.parametrize("text", ["SIGUSR1", "usr1", "USR1", "10"])
def test_signal_by_name_and_number(text: str) -> None:
    assert parse_signal(text) == signal.SIGUSR1


@pytest.mark.parametrize("text", ["", "SIGNOPE", "0", "-1", "99", "1.5"])
def test_signal_unknown_is_refused(text: str) -> None:
    with pytest.raises(ZygoteError, match="no signal"):
        parse_signal(text)


def change(workers: Workers, fleet: Fleet) -> tuple[list[str], list[str], list[str]]:
    zygotes = workers._parts.zygotes
    changes = apply(fleet, workers, zygotes)
    return changes.lines, changes.start, names(changes.stop)


async def test_reload_of_the_same_file_changes_nothing(workers: Workers) -> None:
    assert change(workers, workers.fleet) == (["nothing changed"], [], [])


async def test_reload_with_lines_moved_changes_nothing(workers: Workers) -> None:
    moved = fleet_of(
        worker_spec("bus", place="fleet.toml:77"),
        worker_spec("web", after=("bus",)),
        worker_spec("web-2"),
        templates=(DECOY,),
    )
    assert change(workers, moved)[0] == ["nothing changed"]


async def test_reload_tells_new_removed_and_changed(workers: Workers) -> None:
    web = workers.find("web")
    assert web is not None
    web.unit.start()
    web.unit.up(42, 1.0)
    fleet = fleet_of(
        worker_spec("new"),
        worker_spec("bus", args=("-v",)),
        worker_spec("web", nice=5),
        worker_spec("later", autostart=False),
        zygotes=("floor", "second"),
    )
    lines, start, stop = change(workers, fleet)
    assert lines == [
        "zygote second: new, baking",
        "worker new: new, starting",
        "worker later: new",
        "worker bus: changed",
        "worker web: changed, pending its restart",
        "worker web-2: removed, stopping",
    ]
    assert (start, stop) == (["new"], ["web-2"])
    assert names(workers.all()) == ["new", "bus", "web", "later", "web-2"]
    assert web.pending == fleet.workers["web"]
    assert web.unit.spec.nice is None, "what runs keeps what it was started with"
    assert change(workers, fleet)[0] == ["worker web-2: removed, stopping"]


async def test_reload_changed_back_is_pending_no_more(workers: Workers) -> None:
    web, before = workers.find("web"), workers.fleet
    assert web is not None
    web.unit.start()
    after = fleet_of(
        worker_spec("bus"), worker_spec("web", nice=5), worker_spec("web-2"), templates=(DECOY,)
    )
    assert change(workers, after)[0] == ["worker web: changed, pending its restart"]
    assert change(workers, before)[0] == ["worker web: changed back to what runs"]
    assert web.pending is None
    assert web.unit.state is State.STARTING
