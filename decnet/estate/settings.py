"""How mutate, reconciler and orchestrator behave: read once, from the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader, SettingsError

LIFE_NET = "127.77.0.0/16"
"""Where the deckies' own traffic comes from; collect and profiler know it as ours."""


@dataclass(frozen=True)
class EstateSettings:
    """Times are seconds unless the name says minutes."""

    mutate_interval_min: int = 30
    reconcile_seconds: int = 30
    repair: bool = True
    life_seconds: int = 60
    life_net: str = LIFE_NET
    mail_domain: str = "corp.example"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> EstateSettings:
        """Read `DECNET_MUTATE_INTERVAL`, `DECNET_RECONCILE_SECONDS`, `DECNET_LIFE_…`.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        net = read.text("LIFE_NET", LIFE_NET)
        try:
            ipaddress.ip_network(net)
        except ValueError as error:
            raise SettingsError(
                f"DECNET_LIFE_NET={net!r} is no network: {error}",
                "write one like 127.77.0.0/16, of addresses that this machine has",
            ) from None
        return cls(
            mutate_interval_min=read.number("MUTATE_INTERVAL", 30, 0, 525_600),
            reconcile_seconds=read.number("RECONCILE_SECONDS", 30, 1, 86_400),
            repair=read.switch("RECONCILE_REPAIR", True),
            life_seconds=read.number("LIFE_SECONDS", 60, 1, 86_400),
            life_net=net,
            mail_domain=read.text("MAIL_DOMAIN", "corp.example"),
        )
