"""collect's own settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decnet.settings import Reader, Settings, SettingsError, inner

SOCKET_NAME = "collect.sock"


@dataclass(frozen=True)
class CollectOptions:
    """Where collect reads besides the spool. Paths are absolute."""

    socket: Path | None
    """Syslog datagrams; a stream socket is beside it, see `stream_socket`. None: no sockets."""
    files: tuple[str, ...] = ()
    """Other programs' log files, as patterns."""
    is_socket_asked_for: bool = False
    """Whether the operator named the socket: then it must work."""

    @classmethod
    def from_env(cls, settings: Settings, env: Mapping[str, str] | None = None) -> CollectOptions:
        """Read DECNET_COLLECT_SOCKET ("off": none) and DECNET_COLLECT_FILES (separated by ":").

        Raises:
            SettingsError: a pattern is not absolute.
        """
        read = Reader(os.environ if env is None else env)
        named = read.text("COLLECT_SOCKET", "")
        files = tuple(f for f in read.text("COLLECT_FILES", "").split(":") if f)
        for pattern in files:
            if not pattern.startswith("/"):
                raise SettingsError(
                    f"DECNET_COLLECT_FILES: {pattern!r} is not an absolute path",
                    "write absolute paths, separated by ':'; *, ? and [...] are allowed",
                )
        if named.lower() == "off":
            return cls(None, files)
        return cls(
            read.path("COLLECT_SOCKET", inner(settings.run_dir, "collect") / SOCKET_NAME),
            files,
            bool(named),
        )

    @property
    def stream_socket(self) -> Path | None:
        """The stream socket's path: "collect.stream.sock" beside "collect.sock"."""
        if self.socket is None:
            return None
        return self.socket.with_name(f"{self.socket.stem}.stream{self.socket.suffix}")
