"""`zygotectl audit` as a command: what it says and takes, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.test_audit import HAZARDS
from tests.support.cli import Cli


def test_audit_finds_nothing_to_refuse_in_the_same_libraries_imported(cli: Cli) -> None:
    done = cli(
        "audit", "numpy", "grpc", "prometheus_client", "apscheduler.schedulers.background",
        "sentry_sdk", "--json", OPENBLAS_NUM_THREADS="1",
    )  # fmt: skip
    assert done.json["ok"] is True


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def write(cli: Cli, **sources: str) -> None:
    for name, source in sources.items():
        (cli.folder / f"{name}.py").write_text(source)


def test_audit_of_a_clean_program_is_0_and_says_so(cli: Cli) -> None:
    write(cli, app="import json\nprint('said at import')\n")
    done = cli("audit", "app")
    assert done.out.startswith("app: may be forked")
    assert "said at import" in done.err


def test_audit_prints_findings_with_the_way_out(cli: Cli) -> None:
    write(cli, app="import lib\n", lib=HAZARDS["a_thread"][0] + "\nimport os\nPID = os.getpid()\n")
    done = cli("audit", "app", code=1)
    assert "app: 1 refused, 1 warning (" in done.out
    assert "refused: thread (threads)\n  lib: thread 'sampler'" in done.out
    assert "    instead: start it in the worker" in done.out
    assert "warning: imprint" in done.out


def test_audit_accepts_what_is_allowed_with_a_reason(cli: Cli) -> None:
    write(cli, app=HAZARDS["a_thread"][0])
    done = cli("audit", "app", "--allow", "thread=it only sleeps", "--json")
    [finding] = done.json["findings"]
    assert (finding["rule"], finding["allowed"]) == ("thread", "it only sleeps")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no module named 'nowhere'"),
        (["app"], "importing 'app' raised ZeroDivisionError"),
        (["json", "--warm", "json:nothing"], "no function json:nothing"),
        (["exits"], "ended with exit code 7"),
        (["dies"], "died of SIGSEGV"),
        (["json", "--allow", "threads=x"], 'did you mean "thread"?'),
        (["json", "--allow", "thread"], "a reason is wanted"),
        (["--warm", "app:warm"], "are for modules that are named"),
        (["./lib/app.py"], "as python -m names it: lib.app"),
        (["json", "--python", "/nowhere/python"], "no such interpreter"),
        (["json", "--cwd", "nowhere"], "no such folder"),
        (["hangs", "--timeout", "1s"], "not done within 1 s"),
    ],
)
def test_audit_wrong_usage_is_2(cli: Cli, words: list[str], said: str) -> None:
    write(
        cli, app="1 / 0\n", exits="import os\nos._exit(7)\n",
        dies="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        hangs="import time\ntime.sleep(600)\n",
    )  # fmt: skip
    done = cli("audit", *words, code=2)
    assert said in done.err
    if words == ["app"]:
        assert "ZeroDivisionError: division by zero" in done.err
        assert "zygote/audit" not in done.err


def test_audit_blames_the_warm_up(cli: Cli) -> None:
    write(cli, app="def warm():\n    " + HAZARDS["a_thread"][0].replace("\n", "\n    ") + "\n")
    assert cli("audit", "app").code == 0
    done = cli("audit", "app", "--warm", "app:warm", "--json", code=1)
    assert [(f["rule"], f["module"]) for f in done.json["findings"]] == [("thread", "app:warm")]


def test_audit_sees_a_fork_that_hangs_and_where(cli: Cli) -> None:
    source = """
        import os, threading
        LOCK = threading.Lock()
        def before(): LOCK.acquire()
        def after(): LOCK.acquire()
        os.register_at_fork(before=before, after_in_child=after, after_in_parent=LOCK.release)
    """
    write(cli, app="\n".join(line[8:] for line in source.splitlines()))
    done = cli("audit", "app", "--json", "--fork-patience", "2s", code=1)
    [finding] = done.json["findings"]
    assert finding["rule"] == "fork"
    assert 'a copy hangs after fork: "' in finding["what"]
    assert 'app.py", line 5 in after' in finding["what"]


def test_audit_sees_a_fork_that_dies(cli: Cli) -> None:
    write(cli, app="import os\nos.register_at_fork(after_in_child=os.abort)\n")
    [finding] = cli("audit", "app", "--json", code=1).json["findings"]
    assert (finding["rule"], finding["what"]) == (
        "fork", "a copy died of SIGABRT in its fork hooks",
    )  # fmt: skip


def test_audit_sees_copies_that_are_alike(cli: Cli) -> None:
    write(
        cli,
        app="import os, random\nos.register_at_fork(after_in_child=lambda: random.seed(1))\n",
    )
    [finding] = cli("audit", "app", "--json", code=1).json["findings"]
    assert (finding["rule"], finding["what"]) == ("twins", "two copies draw the same from random")


def test_audit_in_another_folder_and_interpreter_that_has_only_the_standard_library(
    cli: Cli,
) -> None:
    folder = cli.folder / "elsewhere"
    folder.mkdir()
    (folder / "app.py").write_text(
        "import sys\ntry:\n    import cyclopts\nexcept ImportError:\n    cyclopts = None\n"
        "assert cyclopts is None, cyclopts\nassert sys.path[0].endswith('elsewhere'), sys.path\n"
    )
    python = getattr(sys, "_base_executable", sys.executable)
    done = cli("audit", "app", "--cwd", "elsewhere", "--python", python, "--json")
    assert done.json["ok"] is True


def test_audit_without_modules_audits_the_fleet(cli: Cli) -> None:
    write(cli, one="import two\n", two=HAZARDS["a_thread"][0], three="")
    (cli.folder / "fleet.toml").write_text(
        '[fleet]\nname = "shop"\n'
        '[zygote.a]\npreload = ["one"]\nallow = { thread = "known to sleep" }\n'
        '[zygote.b]\npreload = ["three"]\n'
        '[worker.w]\nzygote = "a"\nrun = "one"\n'
    )
    done = cli("audit", "--json")
    assert [(f["zygote"], f["module"], f["allowed"]) for f in done.json["findings"]] == [
        ("a", "two", "known to sleep")
    ]
    assert [one["zygote"] for one in done.json["audited"]] == ["a", "b"]
    json.dumps(done.json)
