"""One control connection, bounded in every direction.

asyncvarlink speaks the protocol; what it leaves open is closed here and in `transport`, because a
supervisor must not be stalled or filled up by whoever connects:

- a message has a size limit, and what is no JSON object ends the connection;
- a call's reply must be taken before the next call is read, within a time limit;
- a peer that hangs up is noticed at once, even while its call is in progress and nothing is read;
- an exception of any kind becomes an error reply, with our error's parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from asyncvarlink import (
    AnnotatedResult,
    FileDescriptorArray,
    VarlinkErrorReply,
    VarlinkInterfaceRegistry,
    VarlinkInterfaceServerProtocol,
    VarlinkMethodCall,
    VarlinkMethodReply,
    VarlinkMethodSignature,
    VarlinkTransport,
)
from asyncvarlink.conversion import ConversionError, FileDescriptorVarlinkType
from asyncvarlink.serviceerrors import InvalidParameter

from zygote.control.interface import NAME, Failed
from zygote.errors import Exit, ZygoteError
from zygote.manager.hangups import Hangups
from zygote.manager.transport import BoundTransport

MESSAGE_MAX = 1 << 20
STRANGER_MESSAGE_MAX = 4096
"""Bytes of a message from somebody who may only ask what this service is."""


class Connection(VarlinkInterfaceServerProtocol):
    """The server's end of one connection.

    Args:
        registry: the interfaces, made for this very caller.
        authorise: called with each method's name of our interface; raises ZygoteError.
        hangups: shared by all connections.
        message_max: bytes.
        send_timeout: seconds in which a reply must be taken.
        on_fault: told of an exception that is a fault of ours.
        on_lost: called once when the connection is gone.
    """

    def __init__(
        self,
        registry: VarlinkInterfaceRegistry,
        *,
        authorise: Callable[[str], None],
        hangups: Hangups,
        message_max: int,
        send_timeout: float,
        on_fault: Callable[[str, BaseException], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        super().__init__(registry)
        self._authorise = authorise
        self._hangups = hangups
        self._message_max = message_max
        self._send_timeout = send_timeout
        self._on_fault = on_fault
        self._on_lost = on_lost
        self._calls: set[asyncio.Task[None]] = set()
        self._wire: VarlinkTransport | None = None
        self._fd = -1
        self._method = ""
        self._told: dict[str, Any] | None = None
        self.last_used = asyncio.get_running_loop().time()

    @property
    def busy(self) -> bool:
        """A call is in progress."""
        return bool(self._calls)

    def hold(self) -> None:
        """Read no more calls until `release`."""
        if isinstance(self._wire, BoundTransport):
            self._wire.hold()

    def release(self) -> None:
        """Read calls again."""
        if isinstance(self._wire, BoundTransport):
            self._wire.release()
            if not self.busy:
                self._wire.resume_reading()

    @property
    def under_way(self) -> str:
        """The method of a call that cannot be left as it is, or "".

        A stream that has begun can be: another may carry it on.
        """
        streams = all(call.get_name() == "stream" for call in self._calls)
        begun = streams and (self._method == "Events" or (self._method == "Run" and self._told))
        sends = isinstance(self._wire, BoundTransport) and self._wire.sends
        if self._consumer_queue or sends:
            return self._method or "a call"
        return self._method if self.busy and not begun else ""

    @property
    def stuck(self) -> bool:
        """It follows events and takes none just now."""
        return self._method == "Events" and self.under_way != ""

    def hand_over(self) -> dict[str, Any] | None:
        """What another process needs to carry this on; None if the peer is gone."""
        if self._fd < 0 or self._wire is None or self._wire.is_closing():
            return None
        stream = {"method": self._method, "told": self._told} if self.busy else None
        return {"fd": self._fd, "part": self._recv_buffer.hex(), "call": stream}

    def carry_on(self, method: str, part: bytes, answer: Any) -> None:
        """Go on with a call that another process of ours had begun to answer.

        Args:
            method: "": none was in progress.
            part: of a message, as far as it had come.
            answer: what the method gives; its results already wrapped (AnnotatedResult).
        """
        self._recv_buffer = part
        if not method:
            return
        call = VarlinkMethodCall(f"{NAME}.{method}", {}, more=True)
        _, signature = self._registry.lookup_method(call)
        self.hold()
        task = self._begin(call, lambda: answer, signature, {})
        self._add_transfer(task)
        task.add_done_callback(lambda _: self.release())

    def abort(self) -> None:
        """Drop the connection now."""
        if self._wire:
            self._wire.abort()

    def end(self) -> None:
        """End the streams, and close once the answers on their way are out."""
        for call in self._calls:
            if call.get_name() == "stream":
                call.cancel()
        self.eof_received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, VarlinkTransport)
        self._wire = transport
        self._fd = transport.get_extra_info("fd")
        self._hangups.watch(self._fd, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hangups.forget(self._fd, self.abort)
        self._fd = -1
        super().connection_lost(exc)
        for call in self._calls:
            if call.get_name() == "stream":
                call.cancel()  # nobody listens any more; other calls do what they were asked to
        self._on_lost(self)

    def message_received(self, data: bytes, fds: FileDescriptorArray | None) -> None:
        self.last_used = asyncio.get_running_loop().time()
        if len(self._recv_buffer) + len(data) > self._message_max:
            self.abort()
            return
        try:
            super().message_received(data, fds)
        except (ValueError, RecursionError):  # bytes that are no text, nested a thousand deep
            self.abort()

    def error_received(self, err: Exception, data: bytes, fds: FileDescriptorArray | None) -> None:
        self.abort()  # no JSON object: there is no telling what would come next

    def call_received(
        self, call: VarlinkMethodCall, fds: FileDescriptorArray | None
    ) -> asyncio.Future[None]:
        """Start a call; the next one is read when this one has been answered."""
        method, signature = self._registry.lookup_method(call)
        if call.method_interface == NAME:
            try:
                self._authorise(call.method_name)
            except ZygoteError as error:
                raise failed(error) from None
        try:
            params = signature.parameter_type.fromjson(
                call.parameters, {FileDescriptorVarlinkType: fds}
            )
        except ConversionError as error:
            where = ".".join(map(str, error.location)) or "parameters"
            raise InvalidParameter(parameter=where) from None
        task = self._begin(call, method, signature, params)
        if fds is not None:
            fds.reference_until_done(task)
        return task

    def _begin(
        self,
        call: VarlinkMethodCall,
        method: Callable[..., Any],
        signature: VarlinkMethodSignature,
        params: dict[str, Any],
    ) -> asyncio.Task[None]:
        self._method, self._told = call.method_name, None
        task = asyncio.create_task(
            self._answer(call, method, signature, params),
            name="stream" if signature.more else "call",
        )
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _answer(
        self,
        call: VarlinkMethodCall,
        method: Callable[..., Any],
        signature: VarlinkMethodSignature,
        params: dict[str, Any],
    ) -> None:
        """Run a call and send what it gives; no exception leaves."""
        reply: VarlinkErrorReply
        try:
            if signature.more:
                await self._stream(method(**params), signature)
                return
            result = method(**params)
            if signature.asynchronous:
                result = await result
            if not call.oneway:
                await self._send(_reply(result, signature))
            return
        except asyncio.CancelledError:
            return  # by connection_lost
        except VarlinkErrorReply as error:
            reply = error
        except ZygoteError as error:
            reply = failed(error)
        except Exception as error:
            self._on_fault(call.method_name, error)
            reply = failed(_as_error(error))
        if not call.oneway:
            await self._send(reply.toreply())

    async def _stream(self, replies: Any, signature: VarlinkMethodSignature) -> None:
        async with aclosing(replies):
            async for result in replies:
                reply = _reply(result, signature)
                # Noted before it is on its way: what still waits to be sent holds up an exec, but
                # what the kernel has may be followed by one before this task runs again.
                self._told = reply.parameters
                if not await self._send(reply):
                    return

    async def _send(self, reply: VarlinkMethodReply) -> bool:
        """Send, and wait until the kernel has it; False if the peer is gone or takes nothing."""
        sent = self.send_reply(reply)
        await asyncio.wait([sent], timeout=self._send_timeout)
        if not sent.done():
            self.abort()
            return False
        return sent.exception() is None


def failed(error: ZygoteError) -> Failed:
    """Our error as the interface's error reply."""
    parts = error.as_dict()
    del parts["errno_name"]
    return Failed(**parts)


def _as_error(error: Exception) -> ZygoteError:
    number = error.errno or 0 if isinstance(error, OSError) else 0
    return ZygoteError(
        f"the manager failed: {type(error).__name__}: {error}",
        code="internal",
        hint="this is a fault of the manager; its log has the details",
        errno=number,
        exit_code=Exit.FAILED,
    )


def _reply(result: AnnotatedResult, signature: VarlinkMethodSignature) -> VarlinkMethodReply:
    """No method of ours sends descriptors."""
    return VarlinkMethodReply(
        signature.return_type.tojson(result.parameters), continues=result.continues
    )
