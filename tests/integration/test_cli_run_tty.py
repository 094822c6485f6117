"""`zygotectl run` on a terminal: keys, window, job control, as under a shell."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Terminal, eventually

FLEET = '[fleet]\nname = "ttys"\nruntime_dir = "run"\n[zygote.floor]\npreload = ["json"]\n'


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "fleet.toml").write_text(FLEET)
    cli = Cli(folder)
    cli("up", "--detach")
    yield cli
    cli("down")


def state_of(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat[stat.rindex(")") + 2]


def begun(terminal: Terminal) -> int:
    """The program's pid, once it has told it."""
    return int(terminal.expect(r"pid=(\d+)\r\n")[1])


LOOP = "import os, signal, sys, time\nprint(f'pid={os.getpid()}', flush=True)\n"


def test_run_on_a_terminal_is_on_it(cli: Cli) -> None:
    code = "import os, sys; print([os.isatty(n) for n in range(3)], os.get_terminal_size())"
    with cli.terminal("run", "--", "-c", code, rows=31, columns=97) as terminal:
        terminal.expect(r"\[True, True, True\] os.terminal_size\(columns=97, lines=31\)")
        assert terminal.wait() == 0


def test_run_reads_what_is_typed(cli: Cli) -> None:
    with cli.terminal("run", "--", "-c", "print('got', input('ask> '))") as terminal:
        terminal.expect("ask> ")
        terminal.type("answer\n")
        terminal.expect("got answer")
        assert terminal.wait() == 0


def test_run_ctrl_d_is_the_end_of_input(cli: Cli) -> None:
    code = LOOP + "print(repr(sys.stdin.read()))"
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.type("x\n\x04")
        terminal.expect(r"'x\\n'")
        assert terminal.wait() == 0


def test_run_ctrl_c_is_keyboard_interrupt(cli: Cli) -> None:
    # The key may come as soon as the line is out: what waits for it is there before.
    loop = "\n ".join(LOOP.strip().splitlines())
    code = f"import os, signal, sys, time\ntry:\n {loop}\n time.sleep(100)\n"
    code += "except KeyboardInterrupt: sys.exit('caught')"
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.type("\x03")
        terminal.expect("caught")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 1


def test_run_ctrl_c_uncaught_dies_of_sigint(cli: Cli) -> None:
    with cli.terminal("run", "--", "-c", LOOP + "time.sleep(100)") as terminal:
        begun(terminal)
        terminal.type("\x03")
        terminal.expect("KeyboardInterrupt")
        assert os.waitstatus_to_exitcode(terminal.wait()) == -signal.SIGINT


def test_run_ctrl_c_reaches_the_whole_group(cli: Cli) -> None:
    code = LOOP + (
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.signal(signal.SIGINT, lambda *_: os._exit(7))\n"
        "    print('child', flush=True)\n"
        "    while True: time.sleep(0.02)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("child")
        terminal.type("\x03")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 7


def test_run_ctrl_backslash_dies_of_sigquit(cli: Cli) -> None:
    code = LOOP + "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n" \
                  "print('now', flush=True); time.sleep(100)"  # fmt: skip
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("now")
        terminal.type("\x1c")
        assert os.waitstatus_to_exitcode(terminal.wait()) == -signal.SIGQUIT


def test_run_ctrl_z_stops_both_and_sigcont_wakes_both(cli: Cli) -> None:
    code = LOOP + "for line in sys.stdin: print('read', line, flush=True)"
    with cli.terminal("run", "--", "-c", code) as terminal:
        pid = begun(terminal)
        for turn in range(3):
            terminal.type("\x1a")
            assert terminal.wait_stopped() == signal.SIGSTOP
            assert state_of(pid) == "T"
            os.kill(terminal.pid, signal.SIGCONT)
            terminal.type(f"turn {turn}\n")
            terminal.expect(f"read turn {turn}")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_run_ctrl_z_waits_for_a_program_that_tidies_up_first(cli: Cli) -> None:
    code = LOOP + (
        "def tidy(*_):\n"
        "    time.sleep(0.3); print('tidied', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    print('back', flush=True); sys.exit(5)\n"
        "signal.signal(signal.SIGTSTP, tidy)\n"
        "os.write(1, b'set\\n')\n"
        "while True: time.sleep(0.02)"
    )
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("set")
        terminal.type("\x1a")
        assert terminal.wait_stopped() == signal.SIGSTOP
        terminal.expect("tidied")
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.expect("back")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 5


def test_run_ctrl_z_ignored_by_the_program_stops_nobody(cli: Cli) -> None:
    code = LOOP + (
        "signal.signal(signal.SIGTSTP, signal.SIG_IGN)\nos.write(1, b'set\\n')\n"
        "print('read', input(), flush=True)"
    )
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("set")
        terminal.type("\x1a")
        terminal.type("on\n")
        terminal.expect("read on")
        assert terminal.wait() == 0, "it ended, and was not stopped"


def test_run_program_that_stops_itself_stops_the_job(cli: Cli) -> None:
    code = LOOP + "os.kill(os.getpid(), signal.SIGSTOP); print('back', flush=True)"
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        assert terminal.wait_stopped() == signal.SIGSTOP
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.expect("back")
        assert terminal.wait() == 0


def test_run_stopped_and_killed_leaves_nothing(cli: Cli) -> None:
    with cli.terminal("run", "--", "-c", LOOP + "time.sleep(100)") as terminal:
        pid = begun(terminal)
        terminal.type("\x1a")
        terminal.wait_stopped()
        os.kill(terminal.pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(terminal.wait()) == -signal.SIGKILL
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "a stopped program was left behind")


def test_run_window_size_change_arrives(cli: Cli) -> None:
    code = LOOP + (
        "def told(*_):\n    print('now', *os.get_terminal_size(), flush=True)\n"
        "signal.signal(signal.SIGWINCH, told)\nos.write(1, b'set\\n')\n"
        "while True: time.sleep(0.02)"
    )
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("set")
        terminal.resize(50, 132)
        terminal.expect("now 132 50")
        terminal.type("\x03")
        assert os.waitstatus_to_exitcode(terminal.wait()) == -signal.SIGINT


def test_run_terminal_closed_hangs_the_program_up(cli: Cli, tmp_path: Path) -> None:
    code = LOOP + "time.sleep(100)"
    terminal = cli.terminal("run", "--", "-c", code)
    pid = begun(terminal)
    os.close(terminal._fd)
    assert os.waitpid(terminal.pid, 0)[1] == signal.SIGHUP
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the program lives on")


def test_run_raw_mode_key_by_key(cli: Cli) -> None:
    """A program may set the terminal up as it likes, and does it for real."""
    code = LOOP + (
        "import tty, termios\nold = termios.tcgetattr(0)\ntty.setraw(0)\n"
        "print('raw', end='', flush=True)\nkey = os.read(0, 1)\n"
        "termios.tcsetattr(0, termios.TCSADRAIN, old)\nprint('key', key)"
    )
    with cli.terminal("run", "--", "-c", code) as terminal:
        begun(terminal)
        terminal.expect("raw")
        terminal.type("\x03")
        terminal.expect(r"key b'\\x03'")
        assert terminal.wait() == 0


def test_run_is_idle_while_its_program_is(cli: Cli) -> None:
    """The stand-in waits, it does not spin: its CPU time stays below its start's own."""
    with cli.terminal("run", "--", "-c", LOOP + "print(input())") as terminal:
        begun(terminal)

        def ticks() -> int:
            stat = Path(f"/proc/{terminal.pid}/stat").read_text()
            field = stat[stat.rindex(")") + 2 :].split()
            return int(field[11]) + int(field[12])

        used = []
        for _ in range(5):  # in the first ones it may still be at its start, on a slow machine
            start, began = ticks(), time.monotonic()
            terminal.until(lambda began=began: time.monotonic() - began > 2.0, "")
            used.append(ticks() - start)
            if used[-1] <= 5:
                break
        assert min(used) <= 5, f"{used}: more than 50 ms of CPU in 2 s of waiting"
        terminal.type("done\n")
        assert terminal.wait() == 0
