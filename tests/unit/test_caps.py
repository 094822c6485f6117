"""Capabilities: names and numbers, and what can be read of our own."""

from __future__ import annotations

from pathlib import Path

from zygote.sys import caps


def test_caps_names_have_the_kernels_numbers() -> None:
    assert (caps.NUMBERS["CAP_CHOWN"], caps.NUMBERS["CAP_SETPCAP"]) == (0, 8)
    assert (caps.NUMBERS["CAP_NET_BIND_SERVICE"], caps.NUMBERS["CAP_NET_RAW"]) == (10, 13)
    assert (caps.NUMBERS["CAP_SYS_ADMIN"], caps.NUMBERS["CAP_CHECKPOINT_RESTORE"]) == (21, 40)
    assert len(set(caps.NAMES)) == len(caps.NAMES)
    assert [caps.NAMES[number] for number in caps.NUMBERS.values()] == list(caps.NUMBERS)


def test_caps_known_names_are_all_that_this_kernel_has() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert last < len(caps.NAMES) or last == max(caps.bounding(), default=last)


def test_caps_read_is_what_the_kernel_shows() -> None:
    status = Path("/proc/thread-self/status").read_text()
    shown = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    masks = {name: int(value, 16) for name, value in shown.items()}
    assert caps.read() == (masks["CapEff"], masks["CapPrm"], masks["CapInh"])
    assert sum(1 << number for number in caps.bounding()) == masks["CapBnd"]
