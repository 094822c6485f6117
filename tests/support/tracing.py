"""Faults injected into system calls of real processes by strace."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def strace(*options: str) -> tuple[str, ...]:
    """A command prefix; skips the test, and says why, where strace cannot trace.

    The tracer is a grandchild (-D), so that the traced program stays the caller's own child.
    """
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    prefix = (program, "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", *options)
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace cannot trace here: {tried.stderr.strip()}")
    return prefix
