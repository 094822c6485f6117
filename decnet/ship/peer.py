"""One sender at the listener, behind its handshake."""

from __future__ import annotations

import asyncio

ACKS_BYTES = 64 << 10
"""Acknowledgements that may wait for a peer that does not read them."""


class Peer:
    """One connection behind its handshake."""

    def __init__(self, source: str, writer: asyncio.StreamWriter) -> None:
        self.source = source
        self.writer = writer
        self.stream = ""
        self.number = 0
        """Of the next line to come, where the peer counts."""

    def ack(self, number: int) -> None:
        """Tell it that all below the number is on disk."""
        transport = self.writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > ACKS_BYTES:
            transport.abort()
            return
        self.writer.write(b"ACK %d\n" % number)
