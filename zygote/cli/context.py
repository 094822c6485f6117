"""What this one run of a command line is about: its name, its fleet, where the manager is."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zygote.fleet import where

if TYPE_CHECKING:
    from typing import Any

    from zygote.cli.ports import Port


class Context:
    """Set once by `zygote.cli.app.drive`, read by the commands.

    Attributes:
        program: what the user typed: "zygotectl".
        default_fleet: the fleet file where none is named; None: $ZYGOTE_FLEET, else ./fleet.toml.
        fleet: of --fleet, or None.
        runtime: of --runtime-dir, or None.
        before_up: what a tenant does before its manager is started.
        ports: which ports a tenant's workers will listen on, from their names.
        cold: what a tenant's workers cost as cold processes: KiB, and how that was found out.
        tenant: the fields of `zygote.install.plan.Tenant`: what a tenant adds to units of a name.
        json: the answer, an error included, is wanted as JSON.
    """

    # By hand: importing dataclasses takes as long as half of what `run` does besides.
    def __init__(
        self,
        program: str = "zygotectl",
        default_fleet: Callable[[], Path] | None = None,
        fleet: str | None = None,
        runtime: str | None = None,
    ) -> None:
        self.program = program
        self.default_fleet = default_fleet
        self.fleet = fleet
        self.runtime = runtime
        self.version = ""
        self.json = False
        self.before_up: Callable[[], None] | None = None
        self.cold: Callable[[], tuple[float, str] | None] | None = None
        self.ports: Callable[[Collection[str]], Iterable[Port]] | None = None
        self.tenant: Callable[[str], dict[str, Any]] = lambda _: {}

    def fleet_file(self) -> Path:
        """The fleet file, absolute.

        Raises:
            ZygoteError: code no-fleet-file.
        """
        if not self.fleet and self.default_fleet:
            return where.find_fleet_file(str(self.default_fleet()))
        return where.find_fleet_file(self.fleet)

    def runtime_dir(self) -> Path:
        """The manager's runtime folder; the fleet file is read only if nothing else names it.

        Raises:
            ZygoteError: as `fleet_file`, and as `zygote.fleet.where.runtime_dir`.
        """
        given = self.runtime or os.environ.get("ZYGOTE_RUNTIME_DIR")
        if given:
            return where.choose_runtime_dir("", "", given)
        return where.runtime_dir(self.fleet_file())

    def socket(self) -> Path:
        """The manager's control socket.

        Raises:
            ZygoteError: as `runtime_dir`; code socket-path-too-long.
        """
        path = self.runtime_dir() / where.SOCKET_NAME
        where.check_socket_path(path)
        return path


current = Context()
"""Of this process: a command line is used once."""
