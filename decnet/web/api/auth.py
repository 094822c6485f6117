"""Who is calling: passwords (PBKDF2), bearer tokens (JWT, HS256), and a brake on guessing.

Tokens carry `iss` decnet, `aud` decnet-dashboard, the user's name and role. Whoever can read the
secret file (mode 0600 in the state folder) can mint one: that is how `decnetctl` logs in on the
machine itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, replace

import jwt

ISSUER = "decnet"
AUDIENCE = "decnet-dashboard"
LIFETIME_SECONDS = 240 * 60
ROUNDS = 600_000
"""Of PBKDF2-HMAC-SHA256, some 0.3 s a guess. A memory-hard function would be stronger against
graphics cards, but leaves 16 MiB and more in the heap of a process that should have five."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose token is good."""

    username: str
    role: str
    jti: str
    issued_at: float
    expires_at: float
    uid: str | None = None
    """The user's row; None for a token that was signed on the machine itself."""
    must_change_password: bool = False

    def as_user(self, username: str, role: str, must_change_password: bool) -> Identity:
        """The same caller, as the user's row says now."""
        return replace(
            self, username=username, role=role, must_change_password=must_change_password
        )


class BadToken(Exception):
    """The token is missing, malformed, expired or signed by another secret."""


def hash_password(password: str) -> str:
    """`pbkdf2$ROUNDS$SALT$KEY`, salt and key in base64."""
    salt = secrets.token_bytes(16)
    return _join(ROUNDS, salt, _derive(password, salt, ROUNDS))


def nobody() -> str:
    """A hash that no password has: checked for unknown users, so that they cost as much time."""
    return _join(ROUNDS, secrets.token_bytes(16), secrets.token_bytes(32))


def verify_password(password: str, stored: str) -> bool:
    """True where `stored` was made from `password`; a malformed `stored` is simply False."""
    try:
        kind, rounds, salt, key = stored.split("$")
        want = base64.b64decode(key)
        got = _derive(password, base64.b64decode(salt), int(rounds))
    except (ValueError, OverflowError):
        return False
    return kind == "pbkdf2" and hmac.compare_digest(got, want)


def _derive(password: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)


def _join(rounds: int, salt: bytes, key: bytes) -> str:
    return f"pbkdf2${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def mint(
    secret: str,
    username: str,
    role: str,
    lifetime: float = LIFETIME_SECONDS,
    uid: str | None = None,
) -> str:
    """A signed bearer token, good for `lifetime` seconds; `uid` binds it to a user's row."""
    now = time.time()
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": username,
        "role": role,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + lifetime,
    }
    if uid is not None:
        claims["uid"] = uid
    return jwt.encode(claims, secret, algorithm="HS256")


def check(secret: str, token: str) -> Identity:
    """The identity behind a token.

    Raises:
        BadToken: with the reason, fit to be shown to the caller.
    """
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iat", "sub", "jti"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadToken("the token has expired: log in again") from error
    except jwt.PyJWTError as error:
        raise BadToken(f"not a valid token: {error}") from error
    return Identity(
        username=claims["sub"],
        role=claims.get("role", "viewer"),
        jti=claims["jti"],
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        uid=claims.get("uid"),
    )


class LoginBrake:
    """At most `limit` failed logins per key (an address or a user) within `window` seconds.

    Holds at most `keys` keys; the least recently used one is forgotten first.
    """

    def __init__(self, limit: int = 10, window: float = 300.0, keys: int = 4096) -> None:
        self.limit, self.window, self.keys = limit, window, keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, *names: str, now: float | None = None) -> float:
        """0 when a try is allowed, else how long the caller must wait."""
        now = time.monotonic() if now is None else now
        return max((self._wait(name, now) for name in names), default=0.0)

    def failed(self, *names: str, now: float | None = None) -> None:
        """Count one failed try for each name."""
        now = time.monotonic() if now is None else now
        for name in names:
            times = self._failures.setdefault(name, deque(maxlen=self.limit))
            self._failures.move_to_end(name)
            times.append(now)
            while len(self._failures) > self.keys:
                self._failures.popitem(last=False)

    def forgive(self, *names: str) -> None:
        """Take back the newest failed try of each name: it was none."""
        for name in names:
            if times := self._failures.get(name):
                times.pop()

    def _wait(self, name: str, now: float) -> float:
        times = self._failures.get(name)
        if times is None or len(times) < self.limit:
            return 0.0
        return max(0.0, times[0] + self.window - now)
