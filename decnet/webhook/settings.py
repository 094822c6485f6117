"""The webhook worker's own settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader


@dataclass(frozen=True)
class WebhookSettings:
    """Times are seconds.

    Args:
        allow_private: deliver to loopback and private addresses too.
        threshold: failed deliveries in a row that disable a subscription.
        queue_most: pending events a subscription; more drop the oldest, counted.
    """

    allow_private: bool = False
    threshold: int = 5
    timeout: float = 10.0
    retry_first: float = 1.0
    queue_most: int = 10_000
    poll: float = 5.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WebhookSettings:
        """Read the environment.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            allow_private=read.switch("WEBHOOK_ALLOW_PRIVATE", False),
            threshold=read.number("WEBHOOK_CIRCUIT_THRESHOLD", 5, 1, 1000),
            timeout=read.number("WEBHOOK_TIMEOUT_MS", 10_000, 100, 120_000) / 1000,
            retry_first=read.number("WEBHOOK_RETRY_MS", 1000, 1, 60_000) / 1000,
            queue_most=read.number("WEBHOOK_QUEUE_MAX", 10_000, 10, 1_000_000),
            poll=read.number("WEBHOOK_POLL_MS", 5000, 50, 60_000) / 1000,
        )
