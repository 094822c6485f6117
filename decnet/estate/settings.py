"""How mutate, reconciler and orchestrator behave: read once, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader


@dataclass(frozen=True)
class EstateSettings:
    """Times are seconds unless the name says minutes."""

    mutate_interval_min: int = 30
    reconcile_seconds: int = 30
    repair: bool = True
    life_seconds: int = 60
    mail_domain: str = "corp.example"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> EstateSettings:
        """Read `DECNET_MUTATE_INTERVAL`, `DECNET_RECONCILE_SECONDS`, `DECNET_LIFE_…`.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            mutate_interval_min=read.number("MUTATE_INTERVAL", 30, 0, 525_600),
            reconcile_seconds=read.number("RECONCILE_SECONDS", 30, 1, 86_400),
            repair=read.switch("RECONCILE_REPAIR", True),
            life_seconds=read.number("LIFE_SECONDS", 60, 1, 86_400),
            mail_domain=read.text("MAIL_DOMAIN", "corp.example"),
        )
