"""Settings of the forwarder and the listener."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decnet.settings import Reader, Settings, inner

KEY = "worker.key"


@dataclass(frozen=True)
class ShipOptions:
    """Paths are absolute."""

    folder: Path
    """DECNET_SHIP_DIR: the CA and the bundles of certificates."""
    master_host: str
    """DECNET_SWARM_MASTER_HOST: whom the forwarder sends to."""
    port: int
    """DECNET_SWARM_SYSLOG_PORT: of the listener."""
    listen_host: str
    """DECNET_LISTENER_HOST: what the listener binds to."""
    source: Path
    """DECNET_AGENT_LOG_FILE: what the forwarder follows."""
    master_log: Path
    """DECNET_MASTER_LOG_FILE: where the listener writes; JSON beside it."""
    ingest: bool
    """DECNET_LISTENER_INGEST: give the lines to this machine's collect as well."""
    lag_most: int
    """DECNET_FORWARDER_LAG_MIB, in bytes: beyond it the oldest lines are dropped."""

    @classmethod
    def from_env(cls, settings: Settings, env: Mapping[str, str] | None = None) -> ShipOptions:
        """Read the environment.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            folder=ship_folder(settings.state_dir, env),
            master_host=read.text("SWARM_MASTER_HOST", "127.0.0.1"),
            port=read.port("SWARM_SYSLOG_PORT", 6514),
            listen_host=read.text("LISTENER_HOST", "127.0.0.1"),
            source=read.path("AGENT_LOG_FILE", settings.log_file),
            master_log=read.path(
                "MASTER_LOG_FILE", inner(settings.state_dir, "listener") / "master.log"
            ),
            ingest=read.switch("LISTENER_INGEST", False),
            lag_most=read.number("FORWARDER_LAG_MIB", 128, 1, 1 << 20) << 20,
        )

    @property
    def agent_bundle(self) -> Path:
        """The forwarder's `ca.crt`, `worker.crt`, `worker.key`: in `agent`, or in the folder."""
        return self.folder if (self.folder / KEY).exists() else self.folder / "agent"

    @property
    def master_bundle(self) -> Path:
        """The listener's: in `master`, or in the folder."""
        return self.folder if (self.folder / KEY).exists() else self.folder / "master"


def ship_folder(state_dir: Path, env: Mapping[str, str] | None = None) -> Path:
    """DECNET_SHIP_DIR, else `ship` in the state folder."""
    return Reader(os.environ if env is None else env).path("SHIP_DIR", state_dir / "ship")
