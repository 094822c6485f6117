"""A floor module that leaves behind all that an import may leave behind, and no audit refuses."""

from __future__ import annotations

import atexit
import contextvars
import decimal
import locale
import logging
import os
import random
import signal
import sys
import tempfile
import weakref

CONTEXT = contextvars.ContextVar("floor", default="none")
CONTEXT.set("set by the floor")
decimal.getcontext().prec = 5
locale.setlocale(locale.LC_NUMERIC, "C")
random.seed(4711)
signal.signal(signal.SIGUSR1, lambda number, frame: print("floor: SIGUSR1"))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
os.environ["FLOOR_WAS_HERE"] = "1"
tempfile.tempdir = "/nonexistent"
atexit.register(print, "floor: atexit")


class Thing:
    """An object with a finalizer."""


thing = Thing()
weakref.finalize(thing, print, "floor: finalize")
logging.getLogger("floor").addHandler(logging.StreamHandler())
print("floor: imported", file=sys.stderr)
sys.stdout.write("floor: not flushed")
