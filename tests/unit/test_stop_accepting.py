"""A server that is told to end loses nobody whom it has accepted, whenever it is told."""

from __future__ import annotations

import asyncio
import socket

import pytest

from zygote import sockets


@pytest.mark.parametrize("turns", range(8))
async def test_stop_accepting_loses_nobody_between_accept_and_serving(turns: int) -> None:
    """Who connects is served by this server, or waits for the next one: after any turn."""
    served: list[bytes] = []

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.readline())
        writer.write(b"old\n")
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    kept = listening.dup()  # as a manager has it
    server = await asyncio.start_server(visit, sock=listening)
    with socket.create_connection(listening.getsockname()) as client, kept:
        client.sendall(b"hello\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        await sockets.stop_accepting(*server.sockets)
        server.close()
        client.settimeout(0)
        if not served:
            kept.settimeout(20)
            successor, _ = await asyncio.to_thread(kept.accept)
            with successor:
                successor.sendall(b"new\n")
        answer = await asyncio.get_running_loop().sock_recv(client, 4)
    assert answer == (b"old\n" if served else b"new\n")


async def test_stop_accepting_leaves_the_queue_to_the_next_server() -> None:
    """Who connects afterwards is neither accepted nor refused."""
    listening = socket.create_server(("127.0.0.1", 0))
    kept = listening.dup()
    visitors: list[object] = []
    server = await asyncio.start_server(lambda r, w: visitors.append(w), sock=listening)
    await sockets.stop_accepting(*server.sockets)
    with socket.create_connection(listening.getsockname()), kept:
        for _ in range(20):
            await asyncio.sleep(0)
        assert not visitors
        kept.settimeout(20)
        kept.accept()[0].close()
    server.close()
    await server.wait_closed()


async def test_stop_accepting_can_be_told_twice_and_of_what_nobody_listens_on() -> None:
    """It is called on the way out, whatever state things are in."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = await asyncio.start_server(lambda r, w: None, sock=listening)
        await sockets.stop_accepting(*server.sockets)
        await sockets.stop_accepting(*server.sockets)
        server.close()
        await sockets.stop_accepting(*server.sockets)
