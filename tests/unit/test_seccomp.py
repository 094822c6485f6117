"""The filter of a worker: its tables against libseccomp and systemd, its program on each call."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import shutil
import struct
import subprocess

import pytest

from zygote.fleet import seccomp
from zygote.fleet.syscalls import GROUPS, KNOWN, NUMBERS
from zygote.fleet.values import Fault

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MOVED = ("open_tree",)
"""Calls that newer versions of systemd (262) have in another group, which also lets them pass."""
PASS = 0
MACHINES = pytest.mark.parametrize("machine", NUMBERS)


def answer(program: bytes, machine: str, number: int, first: int = 0) -> int:
    """What a filter says to a call: 0 it passes, else an errno. The kernel's rules of BPF."""
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    data = struct.pack("=iIQQ", number, ARCHITECTURES[machine], 0, first)
    word = at = 0
    while True:
        what, true, false, value = code[at]
        at += 1
        if what == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
        elif what == 0x06:
            assert value == 0x7FFF0000 or value & 0xFFFF0000 == 0x50000
            return PASS if value == 0x7FFF0000 else value & 0xFFFF
        else:
            yes = {0x15: word == value, 0x25: word > value, 0x35: word >= value,
                   0x45: word & value != 0}[what]  # fmt: skip
            at += true if yes else false


@MACHINES
def test_seccomp_passes_exactly_what_is_named(machine: str) -> None:
    chosen = ("@basic-io", "@file-system", "~@aio", "socket")
    program = seccomp.program(chosen, None, machine)
    allowed = seccomp.calls(chosen)
    own = {name: answer(program, machine, number) for name, number in NUMBERS[machine].items()}
    ruled = {"clone", "clone3"}
    assert {name for name, said in own.items() if said == PASS} - ruled == {
        name for name in allowed if name in own
    } - ruled
    assert {own[name] for name in own if name not in allowed | ruled} == {errno.EPERM}
    assert answer(program, machine, max(NUMBERS[machine].values()) + 1) == errno.ENOSYS
    assert len(program) // 8 <= 4096


@MACHINES
def test_seccomp_clone_makes_threads_and_what_is_allowed(machine: str) -> None:
    thread, process, namespace = 0x003D0F00, 17, 0x10000000 | 17
    table = NUMBERS[machine]

    def said(*chosen: str) -> list[int]:
        program = seccomp.program(chosen, None, machine)
        three = [answer(program, machine, table["clone"], f) for f in (thread, process, namespace)]
        return [*three, answer(program, machine, table["clone3"])]

    refused = errno.EPERM
    assert said("read") == [PASS, refused, refused, errno.ENOSYS]
    assert said("clone", "clone3") == [PASS, PASS, refused, errno.ENOSYS]
    assert said("clone", "clone3", "unshare") == [PASS, PASS, PASS, PASS]
    assert said("@process", "~unshare") == [PASS, PASS, refused, errno.ENOSYS]


@MACHINES
def test_seccomp_families(machine: str) -> None:
    number = NUMBERS[machine]["socket"]
    for chosen, calls in ((None, PASS), (("@network-io",), PASS), (("read",), errno.EPERM)):
        program = seccomp.program(chosen, ("AF_UNIX", "AF_INET6"), machine)
        assert answer(program, machine, number, 1) == calls
        assert answer(program, machine, number, 10) == calls
        assert answer(program, machine, number, 17) == errno.EAFNOSUPPORT
    open_to_all = seccomp.program(None, ("AF_UNIX",), machine)
    assert answer(open_to_all, machine, NUMBERS[machine]["read"], 17) == PASS
    none = seccomp.program(None, (), machine)
    assert answer(none, machine, number, 1) == errno.EAFNOSUPPORT


def test_seccomp_other_architectures_get_nothing() -> None:
    program = seccomp.program(("@system-service",), None, "x86_64")
    data = NUMBERS["x86_64"]["read"]
    assert answer(program, "aarch64", data) == errno.EPERM
    assert answer(program, "x86_64", 0x40000000 + data) == errno.EPERM  # x32


def test_seccomp_words() -> None:
    assert seccomp.words("@basic-io") == ("@basic-io",)
    assert "exit_group" in seccomp.calls(())
    assert "execve" not in seccomp.calls(("@basic-io",))
    assert "read" not in seccomp.calls(("@basic-io", "~read"))
    assert seccomp.calls(("~exit_group",)) == seccomp.calls(()), "what nothing runs without"
    for wrong, hint in (("@basic_io", "@basic-io"), ("reed", "read")):
        with pytest.raises(Fault, match="no such") as raised:
            seccomp.words([wrong])
        assert hint in raised.value.hint
    with pytest.raises(Fault, match="not known here"):
        seccomp.program(None, ("AF_UNIX",), "pdp11")


@MACHINES
def test_seccomp_numbers_are_those_of_libseccomp(machine: str) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(name).seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    wrong = {}
    for call in KNOWN:
        theirs = resolve(ARCHITECTURES[machine], call.encode())
        # It has pseudo numbers below 0 for what a machine lacks, or is newer than the library.
        if theirs >= 0 and theirs != NUMBERS[machine].get(call):
            wrong[call] = theirs
        if theirs < -1 and call in NUMBERS[machine]:
            wrong[call] = theirs
    assert not wrong


def test_seccomp_groups_are_those_of_systemd() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    said = subprocess.run([program, "syscall-filter"], capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip(f"systemd-analyze: {said.stderr.strip()}")
    groups: dict[str, set[str]] = {}
    for line in said.stdout.splitlines():
        word = line.strip()
        if line.startswith("@"):
            current = groups.setdefault(word, set())
        elif word and not word.startswith("#"):
            current.add(word)
    missing = {}
    for name, ours in GROUPS.items():
        theirs = {call for call in groups[name] if call in KNOWN or call.startswith("@")}
        if lacking := set(ours.split()) - theirs - {"execve", *MOVED}:
            missing[name] = lacking
    assert not missing, "we let pass what systemd does not"
