"""One Varlink call with several replies and passed descriptors, blocking, without any library.

For `run` alone: importing asyncio and asyncvarlink for one call takes longer than the interpreter
itself takes to start (130 ms more on the machine where python starts in 30), and the point of
`run` is to be quicker than that. All other calls go through `zygote.client.api`; the tests hold
this one to the protocol against the real manager. See: varlink.org/Method-Call.
"""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path
from typing import Any

from zygote.client.faults import explain_connect, explain_lost
from zygote.errors import ZygoteError

MESSAGE_MAX = 1 << 20
"""Bytes of a call that the manager takes."""

_INTERFACE = "io.zygote.Manager"


class Wire:
    """A connection to a manager: JSON objects, each with a zero byte behind it.

    Raises:
        ZygoteError: on opening: no-manager, not-allowed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise explain_connect(path, error) from None

    def close(self) -> None:
        """Close the connection; the manager hangs up what runs for it. Idempotent."""
        self._socket.close()

    def fileno(self) -> int:
        """Readable when a reply, or part of one, is there."""
        return self._socket.fileno()

    def send(self, method: str, parameters: dict[str, Any], fds: list[int]) -> None:
        """Call a method that gives several replies."""
        call = {"method": f"{_INTERFACE}.{method}", "parameters": parameters, "more": True}
        data = json.dumps(call).encode() + b"\0"
        if len(data) > MESSAGE_MAX:
            raise ZygoteError(
                f"arguments and environment have {len(data)} bytes, the manager takes "
                f"{MESSAGE_MAX}",
                code="too-long",
                hint="pass what is long in a file, or through stdin",
                errno=errno.E2BIG,
            )
        try:
            # The descriptors go with the last byte: the server's library gives up those that came
            # with an earlier part of a message that it reads in several.
            self._socket.sendall(data[:-1])
            socket.send_fds(self._socket, [data[-1:]], fds)
        except OSError as error:
            raise explain_lost(self._path, error) from None

    def receive(self) -> list[dict[str, Any]]:
        """The reports that have arrived in whole.

        Raises:
            ZygoteError: the call failed, or the manager is gone.
        """
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            raise explain_lost(self._path, error) from None
        if not data:
            raise explain_lost(self._path)
        *whole, self._buffer = (self._buffer + data).split(b"\0")
        return [self._report(json.loads(message)) for message in whole]

    def _report(self, reply: dict[str, Any]) -> dict[str, Any]:
        parameters: dict[str, Any] = reply.get("parameters") or {}
        name = reply.get("error")
        if name == f"{_INTERFACE}.Failed":
            raise ZygoteError.from_dict(parameters)
        if name:
            raise ZygoteError(
                f"the manager does not understand this client: {name} {parameters}",
                code="protocol",
                hint="they are of different versions: restart the manager (zygotectl down, up)",
            )
        report: dict[str, Any] = parameters["report"]
        return report
