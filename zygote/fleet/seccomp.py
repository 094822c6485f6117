"""From `seccomp` and `address_families` of a fleet file to a finished filter program.

The program is made by the checker, in a process that ends: a worker only hands it to the kernel.
It is classic BPF as seccomp(2) takes it, run on each system call, and says:

- another architecture, or x32: EPERM;
- clone3: ENOSYS, because its flags are in memory, where a filter cannot look; libc then uses clone;
- clone: threads always; processes where `clone` is allowed; new namespaces where `unshare` is;
- socket: only of the given families, else EAFNOSUPPORT;
- an allowed call: pass; a call that is newer than our table: ENOSYS, as an older kernel says;
- all else: EPERM. Nothing is killed: a worker that tries gets an error like any other.

Why no library: pyseccomp's last release is of 2021 and it needs libseccomp on the machine; and
with one the program would have to be made after the fork, in each worker's own memory.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator

from zygote.fleet.syscalls import GROUPS, KNOWN, NUMBERS
from zygote.fleet.values import Fault, text, texts
from zygote.fleet.words import did_you_mean, listed

ALWAYS = ("@default", "write", "close")
"""What a program needs to run, and to say that it does; in every list, whatever it says."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_… of linux/audit.h
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME."""

# linux/bpf_common.h: what an instruction does. Loads are of a 32-bit word of struct seccomp_data.
_LOAD, _EQUAL, _GREATER, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_Instruction = tuple[int, int, int, int]


def words(value: object) -> tuple[str, ...]:
    """The value of `seccomp`: names of calls and @groups; `~` takes away what came before.

    Raises:
        Fault: no such call or group.
    """
    found = texts(value)
    for index, word in enumerate(found):
        name = word.removeprefix("~")
        if name not in GROUPS and name not in KNOWN:
            choices = GROUPS if name.startswith("@") else KNOWN
            hint = did_you_mean(name, choices, f"a call's name, or one of {listed(GROUPS, 40)}")
            what = "group" if name.startswith("@") else "system call"
            raise Fault(f"no such {what}", hint, at=(index,) if isinstance(value, list) else ())
    return found


def families(value: object, *, filled: bool = False) -> tuple[str, ...]:
    """The value of `address_families`: AF_UNIX, AF_INET …; an empty text is left out.

    Args:
        filled: variables have been filled in: what looks like one is none.
    Raises:
        Fault: no such family.
    """
    found = []
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        at = (index,) if isinstance(value, list) else ()
        if "${" in text(item, at) and not filled:
            found.append(item)
            continue
        if not item:
            continue
        name = item.upper()
        name = name if name.startswith("AF_") else f"AF_{name}"
        if name not in FAMILIES:
            hint = did_you_mean(name, FAMILIES, f"one of {listed(FAMILIES, 40)}")
            raise Fault("no such family of addresses", hint, at=at)
        found.append(name)
    return tuple(found)


FAMILIES = {name: int(getattr(socket, name)) for name in dir(socket) if name.startswith("AF_")}
"""What this interpreter knows of socket(2)'s first argument."""


def calls(chosen: Iterable[str]) -> frozenset[str]:
    """The names that a list of words comes to, in its order, and what is always in it."""
    always = {call for word in ALWAYS for call in _spread(word)}
    found = set(always)
    for word in chosen:
        if word.startswith("~"):
            found -= set(_spread(word[1:]))
        else:
            found |= set(_spread(word))
    return frozenset(found | always)


def program(
    chosen: tuple[str, ...] | None, only: tuple[str, ...] | None, machine: str = ""
) -> bytes:
    """The filter of a worker.

    Args:
        chosen: words of `seccomp`; None: every call but what `only` forbids.
        only: families of `address_families`; None: all.
        machine: as `os.uname().machine`; this one by default.
    Raises:
        Fault: this machine's calls are not known to us.
    """
    machine = machine or os.uname().machine
    if machine not in NUMBERS:
        raise Fault(
            f"the system calls of {machine} are not known here",
            f"leave it out on this machine; known are {listed(NUMBERS)}",
            code="not-here",
        )
    table = NUMBERS[machine]
    code = [
        (_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), _fail(errno.EPERM),
        (_LOAD, 0, 0, _NR),
    ]  # fmt: skip
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), _fail(errno.EPERM)]
    allowed = None if chosen is None else calls(chosen)
    if allowed is not None:
        code += _clone(table, allowed)
    if only is not None:
        wanted = [FAMILIES[name] for name in only]
        code += _when(table["socket"], [(_LOAD, 0, 0, _ARG0), *_any_of(wanted)])
    if allowed is None:
        code.append((_RETURN, 0, 0, _ALLOW))
    else:
        numbers = {table[name] for name in allowed if name in table}
        for low, high in _ranges(numbers):
            code += [(_AT_LEAST, 0, 2, low), (_GREATER, 1, 0, high), (_RETURN, 0, 0, _ALLOW)]
        code += [(_GREATER, 0, 1, max(table.values())), _fail(errno.ENOSYS), _fail(errno.EPERM)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _clone(table: dict[str, int], allowed: Collection[str]) -> list[_Instruction]:
    code: list[_Instruction] = []
    if "unshare" not in allowed:
        code += _when(table["clone3"], [_fail(errno.ENOSYS)])
        namespaces: list[_Instruction] = [(_BITS, 0, 1, _CLONE_NEW), _fail(errno.EPERM)]
    else:
        namespaces = []
    last = (_RETURN, 0, 0, _ALLOW)
    if "clone" not in allowed:
        threads: list[_Instruction] = [(_BITS, 1, 0, _CLONE_THREAD), _fail(errno.EPERM)]
    else:
        threads = []
    return code + _when(table["clone"], [(_LOAD, 0, 0, _ARG0), *namespaces, *threads, last])


def _when(number: int, block: list[_Instruction]) -> list[_Instruction]:
    """Run a block, which decides, for this one call."""
    return [(_EQUAL, 0, len(block), number), *block]


def _any_of(wanted: list[int]) -> list[_Instruction]:
    """Go on behind the block if the word is one of these (the call may still be forbidden)."""
    code: list[_Instruction] = []
    for index, value in enumerate(wanted):
        left = len(wanted) - index
        code.append((_EQUAL, left, 0, value))
    # The number is loaded again for what follows.
    return [*code, _fail(errno.EAFNOSUPPORT), (_LOAD, 0, 0, _NR)]


def _fail(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _spread(word: str) -> Iterator[str]:
    if word not in GROUPS:
        yield word
        return
    for each in GROUPS[word].split():
        yield from _spread(each)


def _ranges(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Runs of numbers, as first and last."""
    low = high = -2
    for number in sorted(numbers):
        if number == high + 1:
            high = number
            continue
        if low >= 0:
            yield low, high
        low = high = number
    if low >= 0:
        yield low, high
