"""Huge pages for the floor: a clone copies 4 KiB of one, never 2 MiB."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zygote.sys import hugepages

PROGRAM = """
import ctypes, mmap, os, sys
from zygote.sys import hugepages
memory = mmap.mmap(-1, 10 * hugepages.SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"x" * len(memory))
first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
mine = [b for b in hugepages.blocks() if first <= b < first + len(memory)]
assert len(mine) >= 9 and all(hugepages.resident(b) == 512 for b in mine)
errors = [hugepages.collapse(b) for b in mine]
if any(errors):
    print("errno", errors); sys.exit()

def kib(what):
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith(what):
            return int(line.split()[1])

assert kib("AnonHugePages") >= 9 * 2048
if os.fork() == 0:
    before = kib("Private_Dirty")
    for block in mine:
        memory[block - first + 5] = 1
    grown = kib("Private_Dirty") - before
    memory.seek(0)
    assert memory.read() .count(b"x") == len(memory) - len(mine)
    print("grown", grown, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_write_to_a_shared_huge_page_copies_a_small_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    word, *rest = done.stdout.split()
    if word == "errno":
        pytest.skip(f"this kernel makes no huge pages on demand: {rest}")
    assert int(rest[0]) <= 9 * 3 * os.sysconf("SC_PAGESIZE") // 1024 + 64


def test_blocks_are_aligned_and_ours() -> None:
    found = hugepages.blocks()
    assert found == sorted(set(found)) and all(block % hugepages.SIZE == 0 for block in found)
