"""The control socket with real clients: good ones are served, bad ones cost nobody anything."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import varlink
from asyncvarlink import FileDescriptor, VarlinkClientProtocol, connect_unix_varlink

from tests.support.control_app import Served, reachable, serving
from tests.support.varlink_raw import NAME, Raw, call
from zygote.control.interface import Failed, ManagerInterface
from zygote.manager.peers import Peers


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as made:
        yield made


# ---- the reference client ----------------------------------------------------------------


def talk_by_reference_client(path: Path) -> dict[str, object]:
    with varlink.Client(address=f"unix:{path}") as client:
        info = client.get_interfaces()
        text = client.get_interface(NAME).get_description()
        with client.open(NAME) as connection:
            workers = [w["name"] for w in connection.List()["workers"]]
            pid = connection.Status()["status"]["pid"]
            events = []
            for reply in connection.Events(follow=True, last=2, _more=True):
                events.append(reply["event"]["event"])
                if len(events) == 3:
                    break
        try:
            with client.open(NAME) as connection:
                connection.List(["nobody"])
        except varlink.VarlinkError as error:
            failure = error.error(), error.parameters()
    return locals()


async def test_control_reference_client_lists_calls_and_monitors(served: Served) -> None:
    await served.start()
    served.app.events.emit("one", "x")
    served.app.events.emit("two", "x")
    talk = asyncio.create_task(asyncio.to_thread(talk_by_reference_client, served.path))
    while not talk.done() and served.app.events.readers == 0:
        await asyncio.sleep(0.005)
    served.app.events.emit("three", "x")
    got = await talk
    assert NAME in got["info"] and "org.varlink.service" in got["info"]  # type: ignore[operator]
    assert str(got["text"]).strip() == ManagerInterface.render_interface_description().strip()
    assert got["workers"] == served.app.workers and got["pid"] == os.getpid()
    assert got["events"] == ["one", "two", "three"]
    name, parts = got["failure"]  # type: ignore[misc]
    assert name == f"{NAME}.Failed" and parts["exit_code"] == 4 and parts["hint"]


# ---- our own client library --------------------------------------------------------------


async def test_control_typed_proxy_and_errors(served: Served) -> None:
    await served.start()
    transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, str(served.path))
    proxy = protocol.make_proxy(ManagerInterface)
    served.app.release.set()
    reply = await proxy.Spawn(names=["a", "b"])
    assert [r.name for r in reply["results"]] == ["a", "b"]
    assert served.app.calls == [("start", ["a", "b"], "ready", None)]
    with pytest.raises(Failed) as caught:
        await proxy.Spawn(names=["a"], wait="forever")
    assert caught.value.parameters["exit_code"] == 2 and "ready" in caught.value.parameters["hint"]
    assert (await proxy.Reload())["changes"] == ["nothing changed"]
    await proxy.Shutdown()
    assert served.app.stopping
    transport.close()
    await transport.closed_future


@pytest.mark.parametrize("method", ["Kill", "Stop"])
async def test_control_fault_of_ours_is_an_error_reply_and_an_event(
    served: Served, method: str
) -> None:
    await served.start()
    async with Raw(served.path) as client:
        extra = {"signal": "SIGHUP"} if method == "Kill" else {}
        reply = await client.ask(method, names=["a"], **extra)
        assert reply["error"] == f"{NAME}.Failed" and reply["parameters"]["code"] == "internal"
        assert "workers" in (await client.ask("List"))["parameters"], "the connection goes on"
    [event] = [e for e in served.app.events.since(9) if e.event == "fault"]
    assert method in event.detail and "control_app.py" in event.detail


async def test_control_calls_on_one_connection_are_answered_in_order(served: Served) -> None:
    await served.start()
    async with Raw(served.path) as client:
        await client.send(call("Spawn", names=["a"]) + call("List") + call("Zygotes"))
        assert await served.is_served()
        served.app.release.set()
        kinds = [next(iter((await client.read())["parameters"])) for _ in range(3)]
    assert kinds == ["results", "workers", "zygotes"]


async def test_control_half_closed_caller_gets_its_answer(served: Served) -> None:
    """As `printf … | nc -U` does."""
    await served.start()
    async with Raw(served.path) as client:
        await client.send(call("Spawn", names=["a"]))
        client.socket.shutdown(socket.SHUT_WR)
        assert await served.is_served()
        served.app.release.set()
        assert (await client.read())["parameters"]["results"][0]["ok"] is True
        assert await client.hung_up()
    await served.until_connections(0)


async def test_control_caller_that_leaves_does_not_cancel_what_it_asked_for(
    served: Served,
) -> None:
    await served.start()
    async with Raw(served.path) as client:
        await client.send(call("Spawn", names=["a"]))
        while not served.app.calls:
            await asyncio.sleep(0.005)
    await served.until_connections(0)
    [task] = [t for t in asyncio.all_tasks() if t.get_name() == "call"]
    served.app.release.set()
    await task
    assert await served.is_served()


async def test_control_events_end_when_the_follower_leaves(served: Served) -> None:
    await served.start()
    async with Raw(served.path) as client:
        served.app.events.emit("one", "x")
        assert (await client.ask("Events", more=True, last=1))["continues"] is True
        assert served.app.events.readers == 1
    await served.until_connections(0)
    async with asyncio.timeout(30):
        while served.app.events.readers:
            await asyncio.sleep(0.005)


async def test_control_close_ends_streams_and_lets_answers_out(served: Served) -> None:
    await served.start()
    async with Raw(served.path) as stream, Raw(served.path) as idle, Raw(served.path) as busy:
        served.app.events.emit("one", "x")
        await stream.ask("Events", more=True, last=1)
        await busy.send(call("Spawn", names=["a"]))
        while not served.app.calls:
            await asyncio.sleep(0.005)
        served.control.close()
        assert await stream.hung_up() and await idle.hung_up()
        served.app.release.set()
        assert (await busy.read())["parameters"]["results"][0]["ok"] is True
        assert await busy.hung_up()
    assert served.app.events.readers == 0 and served.control.connections == 0


async def test_control_events_without_follow_end(served: Served) -> None:
    await served.start()
    async with Raw(served.path) as client:
        reply = await client.ask("Events", more=True, follow=False)
        assert reply["parameters"]["code"] == "no-events"
        for number in range(5):
            served.app.events.emit(str(number), "x")
        await client.send(call("Events", more=True, follow=False, last=3))
        replies = [await client.read() for _ in range(3)]
    assert [r["parameters"]["event"]["event"] for r in replies] == ["2", "3", "4"]
    assert [bool(r.get("continues")) for r in replies] == [True, True, False]


# ---- Run ---------------------------------------------------------------------------------


async def run_call(served: Served, code: str, stdin: int, stdout: int):  # type: ignore[no-untyped-def]
    transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, str(served.path))
    stream = protocol.make_proxy(ManagerInterface).Run(
        zygote=None, kind="command", target=code, args=["arg"], env={"X": "1"}, cwd="/", umask=18,
        stdin=FileDescriptor(stdin), stdout=FileDescriptor(stdout), stderr=FileDescriptor(2),
    )  # fmt: skip
    return transport, stream


def read_all(fd: int) -> bytes:
    with open(fd, "rb") as output:
        return output.read()


async def test_control_run_streams_pid_then_end(served: Served) -> None:
    await served.start()
    (stdin, feed), (out, stdout) = os.pipe(), os.pipe()
    code = "import sys, os; print(sys.stdin.read(), sys.argv[1], os.environ['X']); sys.exit(5)"
    transport, stream = await run_call(served, code, stdin, stdout)
    first = await anext(stream)
    os.close(stdin)
    os.close(stdout)
    assert first["report"].pid and first["report"].code is None
    os.write(feed, b"hello")
    os.close(feed)
    last = await anext(stream)
    assert (last["report"].pid, last["report"].code) == (first["report"].pid, 5)
    assert read_all(out) == b"hello arg 1\n"  # comes to its end: the manager holds no copy
    transport.close()
    await transport.closed_future


async def test_control_run_reports_the_signal(served: Served) -> None:
    await served.start()
    null = os.open(os.devnull, os.O_RDWR)
    out = os.dup(null)
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    transport, stream = await run_call(served, code, null, out)
    reports = [reply["report"] async for reply in stream]
    assert reports[-1].signal == signal.SIGTERM and reports[-1].code is None
    os.close(null)
    os.close(out)
    transport.close()
    await transport.closed_future


async def test_control_run_hangs_up_when_its_caller_leaves(served: Served) -> None:
    await served.start()
    null = os.open(os.devnull, os.O_RDWR)
    out = os.dup(null)
    code = "import signal; signal.pause()"
    transport, stream = await run_call(served, code, null, out)
    pid = (await anext(stream))["report"].pid
    events = served.app.events.follow()
    hangup = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    transport.close()
    await transport.closed_future
    async with asyncio.timeout(30):
        assert ((await hangup).event, served.app.events.since(1)[0].pid) == ("hangup", pid)
        assert (await anext(events)).event == "ended"
    await events.aclose()
    await stream.aclose()
    os.close(null)
    os.close(out)


# ---- who may -----------------------------------------------------------------------------

STRANGER = """
import json, os, socket, sys
os.setgroups(json.loads(sys.argv[3])); os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])
for method in sys.argv[2].split():
    sock.sendall(json.dumps({"method": method, "parameters": {}}).encode() + b"\\0")
    data = b""
    while not data.endswith(b"\\0"):
        part = sock.recv(65536)
        if not part: sys.exit("hung up")
        data += part
    reply = json.loads(data[:-1])
    print(reply.get("error", "").rpartition(".")[2] or "ok", reply["parameters"].get("exit_code"))
"""


async def ask_as_nobody(served: Served, methods: list[str], groups: str = "[]") -> list[str]:
    reachable(served.path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", STRANGER, str(served.path), " ".join(methods), groups,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@needs_root
async def test_control_stranger_may_ask_what_it_is_and_nothing_else(served: Served) -> None:
    await served.start()
    methods = ["org.varlink.service.GetInfo", f"{NAME}.List", f"{NAME}.Shutdown"]
    assert await ask_as_nobody(served, methods) == ["ok None", "Failed 5", "Failed 5"]
    assert not served.app.stopping


@needs_root
async def test_control_member_of_the_readers_group_may_read(served: Served) -> None:
    await served.start(peers=Peers(readers=4242))
    methods = [f"{NAME}.List", f"{NAME}.Status", f"{NAME}.Shutdown"]
    assert await ask_as_nobody(served, methods, "[7, 4242]") == ["ok None", "ok None", "Failed 5"]
    assert await ask_as_nobody(served, methods[:1], "[7]") == ["Failed 5"]
    assert not served.app.stopping
