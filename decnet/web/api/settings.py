"""The REST interface's own settings, and the secrets that it refuses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader, Settings, SettingsError

LEAST_SECRET, LEAST_DISTINCT = 32, 8


@dataclass(frozen=True)
class ApiSettings:
    """Args:
    trusted_proxies: addresses whose X-Forwarded-For is believed.
    streams_most: event streams that may be open at once.
    """

    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    streams_most: int = 64

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ApiSettings:
        """Read the environment.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            trusted_proxies=tuple(read.words("TRUSTED_PROXIES")) or cls.trusted_proxies,
            streams_most=read.number("API_STREAMS", 64, 1, 200),
        )


def refuse_weak(settings: Settings) -> None:
    """Refuse to serve with a secret that can be guessed, or with doors wide open.

    Raises:
        SettingsError: says which and why (exit code 78).
    """
    secret = settings.jwt_secret
    if len(secret) < LEAST_SECRET or len(set(secret)) < LEAST_DISTINCT:
        raise SettingsError(
            f"the secret of the tokens is weak: {len(secret)} characters, {len(set(secret))} of "
            f"them different; the least is {LEAST_SECRET} and {LEAST_DISTINCT}",
            f"unset DECNET_JWT_SECRET, or remove {settings.state_dir / 'jwt-secret'}: "
            "a good one is made",
        )
    if len(settings.admin_password) < 12 or settings.admin_password == settings.admin_user:
        raise SettingsError(
            "the first user's password has less than 12 characters, or is the user's name",
            f"unset DECNET_ADMIN_PASSWORD, or remove {settings.state_dir / 'admin-password'}",
        )
    for origin in settings.cors_origins:
        if "*" in origin or not origin.startswith(("http://", "https://")):
            raise SettingsError(
                f"DECNET_CORS_ORIGINS: {origin!r} is no origin that may be allowed",
                "name each one in full: https://dashboard.example:8443",
            )
