"""Where things are and how the tenant behaves: read once, from the environment, in the worker.

Every variable is `DECNET_…`, named as DECNET's operators know it; what is unset gets a default
that works for one user on one machine. A value that cannot be right raises `SettingsError` with
the variable's name and what would be right. Nothing is read at import: a zygote's environment
is not its workers'.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from decnet.decoys.catalogue import KINDS, port_of
from zygote.errors import ZygoteError

EXIT_CONFIG = 78
"""What a worker ends with when its configuration is wrong (EX_CONFIG of sysexits.h)."""

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


class SettingsError(ZygoteError):
    """A `DECNET_…` variable, or a file that it names, is unusable."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, code="settings", hint=hint, exit_code=EXIT_CONFIG)


@dataclass(frozen=True)
class Settings:
    """All settings of one process. Paths are absolute; times are seconds.

    `jwt_secret` and `admin_password` are read (and, the first time, made) when asked for, so
    that only the worker that needs a secret ever holds it.
    """

    state_dir: Path
    run_dir: Path
    db_url: str
    bus_socket: Path
    spool_dir: Path
    log_file: Path
    json_file: Path
    artifacts_dir: Path
    bus_enabled: bool = True
    bus_group: str = "decnet"
    bus_control_uids: frozenset[int] = frozenset()
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    jwt_exp_minutes: int = 240
    cors_origins: tuple[str, ...] = ()
    admin_user: str = "admin"
    decky_name: str = "decky-01"
    decoy_host: str = "127.0.0.1"
    decoy_ports: Mapping[str, int] = field(
        default_factory=lambda: {kind.name: kind.base_port for kind in KINDS.values()}
    )
    """Kind -> port on the first decky; 0: the kernel chooses, on every decky."""
    decoy_capture_bytes: int = 8 << 20
    decoy_capture_day_bytes: int = 256 << 20
    batch_size: int = 100
    _jwt_secret: str = field(default="", repr=False)
    _admin_password: str = field(default="", repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; creates the state folder (0700) where it is missing.

        Args:
            env: read this mapping in place of `os.environ`.
        Raises:
            SettingsError: a value is out of range or a path is unusable.
        """
        read = Reader(os.environ if env is None else env)
        state = read.path("STATE_DIR", _default_state_dir(read.env))
        run_dir = Path(read.env.get("ZYGOTE_RUNTIME_DIR") or state).absolute()
        log_file = read.path("INGEST_LOG_FILE", inner(state, "log") / "decnet.log")
        settings = cls(
            state_dir=state,
            run_dir=run_dir,
            db_url=_with_password(
                async_url(
                    read.text("DB_URL", f"sqlite+aiosqlite:///{inner(state, 'db')}/decnet.db")
                )
            ),
            bus_socket=read.path("BUS_SOCKET", inner(run_dir, "bus") / "bus.sock"),
            spool_dir=read.path("SPOOL_DIR", state / "spool"),
            log_file=log_file,
            json_file=log_file.with_suffix(".json"),
            artifacts_dir=read.path("ARTIFACTS_ROOT", state / "artifacts"),
            bus_enabled=read.switch("BUS_ENABLED", True),
            bus_group=read.text("BUS_GROUP", "decnet"),
            bus_control_uids=frozenset(
                read.number_in("BUS_CONTROL_UIDS", uid, 0, 2**32 - 2)
                for uid in read.words("BUS_CONTROL_UIDS")
            ),
            api_host=read.text("API_HOST", "127.0.0.1"),
            api_port=read.port("API_PORT", 8000),
            jwt_exp_minutes=read.number("JWT_EXP_MINUTES", 240, 1, 525_600),
            cors_origins=tuple(read.words("CORS_ORIGINS")),
            admin_user=read.text("ADMIN_USER", "admin"),
            decky_name=read.text("DECKY_NAME", "decky-01"),
            decoy_host=read.text("DECOY_HOST", "127.0.0.1"),
            decoy_ports={
                kind.name: read.port(kind.variable.removeprefix("DECNET_"), kind.base_port)
                for kind in KINDS.values()
            },
            decoy_capture_bytes=read.number("DECOY_CAPTURE_MB", 8, 1, 1024) << 20,
            decoy_capture_day_bytes=read.number("DECOY_CAPTURE_DAY_MB", 256, 1, 1 << 20) << 20,
            batch_size=read.number("BATCH_SIZE", 100, 1, 10_000),
            _jwt_secret=read.secret("JWT_SECRET", 32),
            _admin_password=read.secret("ADMIN_PASSWORD", 12),
        )
        settings.prepare()
        return settings

    def prepare(self) -> None:
        """Make the folders that every worker takes for granted; private to this user."""
        for folder in (self.state_dir, self.spool_dir, self.artifacts_dir, self.log_file.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise SettingsError(
                    f"cannot make the folder {folder}: {error.strerror}",
                    "set DECNET_STATE_DIR to a folder that this user may write to",
                ) from error

    def decoy_port(self, kind: str, number: int = 1) -> int:
        """The port of a kind of decoy on a decky; 0 where the kernel is to choose.

        Raises:
            UnknownDecoy: no such kind or number, or it would be above 65535.
        """
        return port_of(kind, number, self.decoy_ports[kind])

    @property
    def decoy_ssh_port(self) -> int:
        """The first decky's."""
        return self.decoy_ports["ssh"]

    @property
    def db_file(self) -> Path | None:
        """The database's file where it is SQLite in a file, else None."""
        return sqlite_file(self.db_url)

    @cached_property
    def jwt_secret(self) -> str:
        """Key of the API's tokens.

        DECNET_JWT_SECRET, else the credential `jwt-secret`, else made once in STATE/jwt-secret.
        """
        return self._jwt_secret or _secret("jwt-secret", self.state_dir, 32)

    @property
    def admin_password(self) -> str:
        """First password of `admin_user`.

        DECNET_ADMIN_PASSWORD, else the credential `admin-password`, else STATE/admin-password.
        """
        return self._admin_password or _secret("admin-password", self.state_dir, 18)


def inner(folder: Path, name: str) -> Path:
    """A folder for one kind of file, where `decnetctl up` has made it; else the folder itself.

    With folders of their own, workers can be shut in: see `decnet.run.arrange`.
    """
    place = folder / name
    return place if place.is_dir() else folder


def credential(name: str) -> Path | None:
    """A file that the manager gave to this worker alone: `credentials` of the fleet file."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder, name) if folder else None
    return path if path is not None and path.exists() else None


def _secret(name: str, state: Path, random_bytes: int) -> str:
    given = credential(name)
    return _read_secret(given) if given else secret_file(state / name, random_bytes)


def _with_password(url: str) -> str:
    """A database's URL with the password of the credential `db-password`, if it has none."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    given = credential("db-password")
    if given is None or not at or ":" in user or scheme.startswith("sqlite"):
        return url
    return f"{scheme}://{user}:{quote(_read_secret(given), safe='')}@{place}"


def secret_file(path: Path, random_bytes: int = 32) -> str:
    """The secret in a file (0600), made from `random_bytes` the first time.

    Safe when several processes ask at once: they all get the one that was linked first.

    Raises:
        SettingsError: the file cannot be read or made, or is empty.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            return _read_secret(path)
        # link(2) fails where the name exists and never shows a half-written file.
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_urlsafe(random_bytes) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            Path(draft).unlink()
        return _read_secret(path)
    except OSError as error:
        raise SettingsError(
            f"cannot read or make the secret {path}: {error.strerror}",
            "check the owner of the state folder (DECNET_STATE_DIR)",
        ) from error


def async_url(url: str) -> str:
    """The URL with the asyncio driver that we use: "sqlite:///x" gives "sqlite+aiosqlite:///x".

    Raises:
        SettingsError: a database that we have no driver for.
    """
    scheme, mark, rest = url.partition("://")
    dialect = scheme.partition("+")[0]
    if not mark or dialect not in _ASYNC_DRIVERS:
        raise SettingsError(
            f"DECNET_DB_URL={url!r} names no database that decnet can use",
            "use sqlite+aiosqlite:////absolute/path.db or postgresql+asyncpg://user@host/name",
        )
    return f"{_ASYNC_DRIVERS[dialect]}://{rest}"


def sqlite_file(url: str) -> Path | None:
    """The path in an SQLite URL; None for other databases and for one in memory."""
    scheme, _, rest = url.partition("://")
    path = rest.removeprefix("/").partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    return Path(path)


def _read_secret(path: Path) -> str:
    text = path.read_text().strip()
    if not text:
        raise SettingsError(
            f"the secret in {path} is empty", "remove the file; a new one is made at the next start"
        )
    return text


def _default_state_dir(env: Mapping[str, str]) -> Path:
    # XDG: a relative value is to be ignored.
    base = env.get("XDG_STATE_HOME", "")
    home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 -- from env, then passwd
    return (Path(base) if base.startswith("/") else Path(home) / ".local" / "state") / "decnet"


class Reader:
    """Typed reads of `DECNET_NAME`; an empty value counts as unset."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env

    def text(self, name: str, default: str) -> str:
        return self.env.get(f"DECNET_{name}", "").strip() or default

    def words(self, name: str) -> list[str]:
        return [word for word in self.text(name, "").replace(",", " ").split() if word]

    def path(self, name: str, default: Path) -> Path:
        text = self.text(name, "")
        return (Path(text).expanduser() if text else default).absolute()

    def switch(self, name: str, default: bool) -> bool:
        text = self.text(name, "").lower()
        if text and text not in _TRUE | _FALSE:
            raise SettingsError(
                f"DECNET_{name}={text!r} is neither true nor false", "write true or false"
            )
        return text in _TRUE if text else default

    def number(self, name: str, default: int, low: int, high: int) -> int:
        text = self.text(name, "")
        return self.number_in(name, text, low, high) if text else default

    def number_in(self, name: str, text: str, low: int, high: int) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text[:20]) <= high):
            raise SettingsError(
                f"DECNET_{name}: {text!r} is not a whole number from {low} to {high}",
                f"write a number from {low} to {high}",
            )
        return int(text)

    def port(self, name: str, default: int) -> int:
        # 0 lets the kernel choose: for tests, which read the port back.
        return self.number(name, default, 0, 65_535)

    def secret(self, name: str, least: int) -> str:
        text = self.env.get(f"DECNET_{name}", "")
        if text and len(text) < least:
            raise SettingsError(
                f"DECNET_{name} has {len(text)} characters, {least} is the least",
                "make it longer, or leave it unset: one is made in the state folder",
            )
        return text
