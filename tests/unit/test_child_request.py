"""A request: what is read of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zygote.child.request import find_report, parse


def body(**change: Any) -> bytes:
    request = {
        "worker": "w",
        "run": {"kind": "module", "target": "m"},
        "env": {},
        "cwd": "/",
        "fds": ["cgroup", "stdin", "listen:web", "report", "record", "listen:api", "cgroup.procs"],
    }
    return json.dumps(request | change).encode()


FDS = (10, 11, 12, 13, 14, 15, 16)


def test_request_sorts_descriptors_by_role() -> None:
    request = parse(body(), FDS, bytes(16))
    assert request.stdio == [11, -1, -1]
    assert request.listen == [("web", 12), ("api", 15)]
    assert (request.report, request.record, request.procs) == (13, 14, 16)


def test_request_spawn_id_comes_from_the_packet_if_the_body_has_none() -> None:
    assert parse(body(), FDS, b"\x01" * 16).spawn_id == "01" * 16
    assert parse(body(spawn_id="ff"), FDS, b"\x01" * 16).spawn_id == "ff"


@pytest.mark.parametrize(
    ("kind", "target", "argv0", "script"),
    [
        ("module", "pack.mod", "-m", ""),
        ("command", "print()", "-c", ""),
        ("file", "sub/x.py", "sub/x.py", "/folder/sub/x.py"),
        ("file", "/x.py", "/x.py", "/x.py"),
        ("function", "m:f", "m:f", ""),
    ],
)
def test_request_argv0_and_script(kind: str, target: str, argv0: str, script: str) -> None:
    run = {"kind": kind, "target": target}
    request = parse(body(run=run, cwd="/folder", args=["a"]), FDS, bytes(16))
    assert (request.argv0, request.script) == (argv0, script)
    assert request.command_line[-2:] == [target, "a"]


@pytest.mark.parametrize(
    "bad",
    [b"", b"{", b"[]", b"null", body(run={}), body(fds=["report"]), body(extra=1), body(run="x")],
    ids=["empty", "cut", "list", "null", "no-run", "fds", "unknown", "run"],
)
def test_request_without_sense_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError):
        parse(bad, FDS, bytes(16))


def test_request_report_is_found_in_what_cannot_be_read() -> None:
    assert find_report(body(run={}), FDS) == 13
    for bad in (b"{", b"[]", b"null", b'{"fds": 3}', body(fds=["stdin"])):
        assert find_report(bad, FDS) == -1
