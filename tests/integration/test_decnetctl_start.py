"""What `decnetctl` loads before it does anything, and how long that takes beside a bare rival."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"sqlmodel", "sqlalchemy", "fastapi", "scapy", "asyncssh", "httpx2", "cryptography"}
BARE = """
import typer

app = typer.Typer()

@app.command()
def visits() -> None:
    "Show what the visitors did."

@app.command()
def attackers() -> None:
    "List who visited."

app()
"""
ROUNDS = 7


def loaded(*words: str) -> tuple[str, set[str]]:
    """Output, and the top-level modules that a command line imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "decnet.cli.app", *words],
        capture_output=True,
        text=True,
        timeout=180,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("doctr",),
        ("__complete", "restart", "pro"),
        ("--completion", "bash"),
        ("ttp", "stix", "--help"),
    ],
    ids=" ".join,
)
def test_decnetctl_start_loads_no_table_no_web_framework_no_scapy(words: tuple[str, ...]) -> None:
    _, modules = loaded(*words)
    assert "cyclopts" in modules
    assert not modules & HEAVY


def test_decnetctl_tab_key_knows_the_workers_of_the_fleet_file() -> None:
    out, _ = loaded("__complete", "restart", "pro")
    assert "profiler" in out


def test_decnetctl_help_takes_no_longer_than_a_bare_typer_app_and_a_half(tmp_path: Path) -> None:
    bare = tmp_path / "bare.py"
    bare.write_text(BARE)
    own, rival = [], []
    for count in range(1, 5 * ROUNDS + 1):  # in turns: what else the machine does hits both
        rival.append(seconds(str(bare), "--help"))
        own.append(seconds("-m", "decnet.cli.app", "--help"))
        # The least of each is what the machine adds least to; more rounds, if it adds much.
        ratio = min(statistics.median(own) / statistics.median(rival), min(own) / min(rival))
        if count >= ROUNDS and ratio <= 1.5:
            break
    assert ratio <= 1.5, (own, rival)


def seconds(*words: str) -> float:
    """CPU time of a Python process from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env={**os.environ}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
