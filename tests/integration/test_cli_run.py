"""`zygotectl run` with pipes: the program's stdio, surroundings, end; and all that can go wrong."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, eventually

FLEET = """
[fleet]
name = "runs"
runtime_dir = "run"
[zygote.floor]
preload = ["json"]
[zygote.other]
preload = ["decimal"]
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "fleet.toml").write_text(FLEET)
    cli = Cli(folder)
    cli("up", "--detach")
    yield cli
    cli("down")


@pytest.mark.parametrize("code", [0, 1, 2, 7, 127, 128, 255])
def test_run_gives_the_exit_code(cli: Cli, code: int) -> None:
    cli("run", "--", "-c", f"import sys; sys.exit({code})", code=code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT])
def test_run_dies_of_the_signal_that_killed_the_program(cli: Cli, number: signal.Signals) -> None:
    code = f"import os, signal; signal.signal({number}, 0) if {number} != 9 else 0; " \
           f"os.kill(os.getpid(), {number})"  # fmt: skip
    cli("run", "--", "-c", code, code=-number)


def test_run_has_arguments_folder_umask_and_environment(cli: Cli) -> None:
    code = "import os, sys; m = os.umask(0); print(sys.argv, os.getcwd(), oct(m), os.environ['A'])"
    before = os.umask(0o031)
    try:
        done = cli("run", "--", "-c", code, "-x", "--json", "a b", "", A="ä\n\x01")
    finally:
        os.umask(before)
    assert done.out == f"['-c', '-x', '--json', 'a b', ''] {cli.folder} 0o31 ä\n\x01\n"


def test_run_passes_an_environment_that_is_no_utf8(cli: Cli) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    done = cli("run", "--", "-c", "import os; print(os.environb[b'ODD'])", ODD=odd)
    assert done.out == "b'\\xff\\xfe'\n"


def test_run_reads_its_own_stdin(cli: Cli) -> None:
    done = cli("run", "--", "-c", "print(input()[::-1])", stdin="live\n")
    assert done.out == "evil\n"


def test_run_of_a_program_on_stdin(cli: Cli) -> None:
    assert cli("run", "--", "-", "x", stdin="import sys; print(sys.argv[1:])").out == "['x']\n"


def test_run_module_and_file(cli: Cli) -> None:
    (cli.folder / "prog.py").write_text("import sys\nprint(__name__, sys.argv, __file__)\n")
    assert cli("run", "prog.py", "1").out == (
        f"__main__ ['prog.py', '1'] {cli.folder / 'prog.py'}\n"
    )
    done = cli("run", "--", "-mprog", "2")
    assert done.out.startswith("__main__") and "'2'" in done.out


def test_run_in_another_zygote(cli: Cli) -> None:
    code = "import sys; print('_decimal' in sys.modules)"
    assert cli("run", "--zygote", "other", "--", "-c", code).out == "True\n"
    assert cli("run", "--zygote=floor", "--", "-c", code).out == "False\n"


def test_run_with_stdin_closed(cli: Cli) -> None:
    command = (
        f'exec "{sys.executable}" -m zygote.cli run -- -c "import sys; print(sys.stdin.read())" <&-'
    )
    done = subprocess.run(["sh", "-c", command], cwd=cli.folder, env=cli.env(), check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout == "\n"


def test_run_writes_into_the_pipe_itself(cli: Cli) -> None:
    """A reader that leaves is the program's affair: BrokenPipeError there, and nothing here."""
    code = "import os\nprint('one', flush=True)\n" \
           "try:\n  while True: os.write(1, b'more\\n' * 1000)\n" \
           "except BrokenPipeError: os._exit(3)"  # fmt: skip
    process = cli.start("run", "--", "-c", code)
    assert process.stdout and process.stdout.readline() == "one\n"
    process.stdout.close()
    assert process.wait(120) == 3
    assert process.stderr and process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_run_passes_a_signal_on(cli: Cli, name: str) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal(signal.{name}, lambda *_: sys.exit(42))\n"
        "print('here', flush=True)\nwhile True: time.sleep(0.02)"
    )
    process = cli.start("run", "--", "-c", code)
    with process:
        assert process.stdout and process.stdout.readline() == "here\n"
        process.send_signal(getattr(signal, name))
        assert process.wait(120) == 42


def test_run_under_nohup_ignores_sighup(cli: Cli) -> None:
    code = "import time\nprint('here', flush=True)\nwhile True: time.sleep(0.02)"
    nohup = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = cli.start("run", "--", "-c", code, **nohup)
    with process:
        assert process.stdout and process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == -signal.SIGTERM, (
            "the later signal ended it, not the ignored one"
        )


def test_run_client_killed_hangs_the_program_up(cli: Cli) -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(0.02)"
    process = cli.start("run", "--", "-c", code)
    with process:
        assert process.stdout
        pid = int(process.stdout.readline())
        process.kill()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the program lives on")


def test_run_leaves_no_core_of_its_own(cli: Cli) -> None:
    """The program's core is enough: the client, dying of the same signal, dumps none."""
    code = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()"
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    process = cli.start("run", "--", "-c", code, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_CORE, (limit[1], limit[1])))  # fmt: skip
    with process:
        pid = process.pid
        status = os.waitpid(pid, 0)[1]
        process.returncode = -signal.SIGABRT
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)


def test_run_says_what_cannot_be_passed(cli: Cli) -> None:
    done = cli("run", "--", "-c", "pass", code=1, **{f"BIG{n}": "x" * 100_000 for n in range(11)})
    assert "the manager takes 1048576" in done.err
    assert "hint: pass what is long in a file" in done.err


def test_run_takes_a_large_environment(cli: Cli) -> None:
    many = {f"BIG{n}": "x" * 100_000 for n in range(5)}
    assert cli("run", "--", "-c", "import os; print(len(os.environ['BIG4']))", **many).out == (
        "100000\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "no program"),
        (["--"], 2, "no program"),
        (["--", "-m"], 2, "-m needs a value"),
        (["--zygote"], 2, "--zygote needs a value"),
        (["--frob", "x.py"], 2, "run has no option --frob"),
        (["--", "-u", "x.py"], 2, "PYTHONUNBUFFERED"),
        (["--", "-W", "error", "x.py"], 2, "PYTHONWARNINGS"),
        (["--", "-X", "dev", "x.py"], 2, "cannot be had in a fork"),
        (["--", "-OO", "x.py"], 2, "assertions"),
        (["--zygote", "nope", "x.py"], 4, "no zygote 'nope'"),
        (["nope.py"], 2, "can't open file"),
        (["--", "-m", "no_such_module"], 1, "No module named no_such_module"),
    ],
    ids=str,
)
def test_run_error_names_the_way_out(cli: Cli, words: list[str], code: int, says: str) -> None:
    done = cli("run", *words, code=code)
    assert says in done.err
    assert "Traceback" not in done.err


def test_run_without_a_manager(cli: Cli, tmp_path: Path) -> None:
    done = cli("--runtime-dir", str(tmp_path), "run", "--", "-c", "pass", code=6)
    assert "no manager answers" in done.err
    assert "zygotectl up" in done.err


def test_run_in_a_removed_folder(cli: Cli, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'rmdir "{gone}"; exec "{sys.executable}" -m zygote.cli --runtime-dir ' \
              f'"{cli.folder}/run" run -- -c pass'  # fmt: skip
    done = subprocess.run(["sh", "-c", command], cwd=gone, env=cli.env(), check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    assert "the current folder is not there any more" in done.stderr
