"""Whom a decoy lets in. Every password may be tried; these patterns say which ones work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from decnet.decoys.house import BadOption

EVERYBODY = "!*: *:*"
"""Any user with any password, but not with an empty one."""


@dataclass(frozen=True)
class Logins:
    """Patterns `user:password`, the first that matches decides; "!" before it refuses.

    `*`, `?` and `[…]` as in file names. Nobody is let in where none matches.
    """

    patterns: tuple[tuple[bool, str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Logins:
        """From words separated by spaces.

        Raises:
            ValueError: a word without a colon; says which.
        """
        patterns = []
        for word in text.split():
            user, colon, password = word.removeprefix("!").partition(":")
            if not colon:
                raise ValueError(f"{word!r} is no user:password pattern")
            patterns.append((not word.startswith("!"), user, password))
        return cls(tuple(patterns))

    def accepts(self, user: str, password: str) -> bool:
        """Whether this log-in works."""
        for allowed, user_pattern, password_pattern in self.patterns:
            if fnmatchcase(user, user_pattern) and fnmatchcase(password, password_pattern):
                return allowed
        return False


def logins_of(service: str, env: Mapping[str, str], default: str = EVERYBODY) -> Logins:
    """From DECNET_DECOY_<SERVICE>_LOGINS; `default` where it is unset.

    Raises:
        BadOption: it cannot be read.
    """
    variable = f"DECNET_DECOY_{service.upper()}_LOGINS"
    try:
        return Logins.parse(env.get(variable, "").strip() or default)
    except ValueError as error:
        raise BadOption(
            f"{variable}: {error}", 'write patterns as in "root:toor admin:* !*:123456"'
        ) from error
