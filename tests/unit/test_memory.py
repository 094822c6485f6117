"""Giving memory back between bursts."""

from __future__ import annotations

import subprocess
import sys

from zygote.memory import Settler

BURST = """
import sys
from zygote.memory import settle
from zygote.sys import procfs
import os
def uss():
    return procfs.read_memory(os.getpid()).uss_kib
before = uss()
kept = []
for _ in range(2000):
    kept.append(bytearray(9000))
    kept.append(bytearray(700))  # these stay, and hold the end of the heap
high = uss()
del kept[::2]
left = uss()
settle()
print(high - before, left - before, uss() - before)
"""


def test_settle_gives_back_what_was_freed() -> None:
    out = subprocess.run([sys.executable, "-c", BURST], capture_output=True, check=True).stdout
    high, left, settled = map(int, out.split())
    assert high > 18_000
    assert left > 0.9 * high
    assert settled < 0.6 * high


def test_settler_waits_for_work() -> None:
    settler = Settler()
    assert not settler.settle(worth=60.0)
    assert settler.settle(worth=0.0)
