"""`decnetctl user`: who may log in to the dashboard. In the database: the fleet need not run."""

from __future__ import annotations

import getpass
import json
import re
import secrets
import sys
from typing import TYPE_CHECKING, Literal

from cyclopts import App
from rich.console import Console
from rich.table import Table

from decnet.cli.local import transact
from decnet.cli.rest import printable, say
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from decnet.db.tables import User

user = App(name="user", help="Who may log in to the dashboard and the REST interface.")
NAME = re.compile(r"[\w.@+-]{1,64}")
LEAST, MOST = 12, 256
Role = Literal["viewer", "admin"]


@user.command
def add(name: str, *, role: Role = "viewer", as_json: Json = False) -> None:
    """Make a user. The password is asked for, or read from a pipe; an empty one is made up.

    It is the first one only: the user has to choose another at the first login.

    Args:
        name: letters, digits and .@+-_
        role: a viewer sees everything and changes nothing; an admin may do both.
    """
    from sqlalchemy.exc import IntegrityError  # late: --help and completion load no table

    from decnet.db.tables import User
    from decnet.web.api import auth

    if not NAME.fullmatch(name):
        raise _wrong(f"{name!r} cannot be a user's name", "up to 64 letters, digits and .@+-_")
    password, made_up = _password()
    digest = auth.hash_password(password)

    async def work(session: AsyncSession) -> None:
        session.add(User(username=name, password_hash=digest, role=role, must_change_password=True))

    try:
        transact(work)
    except IntegrityError:
        raise ZygoteError(
            f"there is a user {name!r} already",
            code="user-exists",
            hint=f"decnetctl user password {name} sets another password",
        ) from None
    _tell(name, role, password if made_up else "", as_json)


@user.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List the users."""

    from sqlmodel import col, select

    from decnet.db.tables import User

    async def read(session: AsyncSession) -> list[User]:
        return list(await session.scalars(select(User).order_by(col(User.username))))

    rows = [
        {
            "username": row.username,
            "role": row.role,
            "must_change_password": row.must_change_password,
        }
        for row in transact(read)
    ]
    if as_json:
        say(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("USER", "ROLE", "PASSWORD"):
        table.add_column(name)
    for row in rows:
        must = "to be changed at the next login" if row["must_change_password"] else ""
        table.add_row(printable(row["username"]), str(row["role"]), must)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
    console.print(table if rows else "none yet; the worker api makes the first one at its start")


@user.command(name="password")
def password_(name: str, *, as_json: Json = False) -> None:
    """Set another password for a user, who has to change it; logins of before end at once."""
    from decnet.db.tables import utc_now
    from decnet.web.api import auth

    password, made_up = _password()
    digest = auth.hash_password(password)

    async def work(session: AsyncSession) -> str:
        row = await _find(session, name)
        row.password_hash, row.must_change_password = digest, True
        row.tokens_valid_from = utc_now()
        return row.role

    _tell(name, transact(work), password if made_up else "", as_json)


@user.command
def remove(name: str) -> None:
    """Remove a user; all logins of that user end at once."""
    from sqlmodel import col, func, select

    from decnet.db.tables import User

    async def work(session: AsyncSession) -> None:
        row = await _find(session, name)
        admins = select(func.count(col(User.uuid))).where(col(User.role) == "admin")
        if row.role == "admin" and (await session.scalar(admins) or 0) <= 1:
            raise ZygoteError(
                f"{name!r} is the last admin",
                code="last-admin",
                hint="make another first: decnetctl user add NAME --role admin",
            )
        await session.delete(row)

    transact(work)
    say(f"{name} is removed")


async def _find(session: AsyncSession, name: str) -> User:
    from sqlmodel import col, select

    from decnet.db.tables import User

    row = await session.scalar(select(User).where(col(User.username) == name))
    if row is None:
        raise ZygoteError(
            f"no user {name!r}",
            code="no-user",
            hint="decnetctl user list",
            exit_code=Exit.NO_SUCH_WORKER,
        )
    return row


def _password() -> tuple[str, bool]:
    """A password, and whether it was made up."""
    if sys.stdin.isatty():
        given = getpass.getpass("password (empty: one is made up): ")
        if given and getpass.getpass("once more: ") != given:
            raise _wrong("the two are not the same", "nothing was changed; try again")
    else:
        given = sys.stdin.readline(MOST + 2).rstrip("\r\n")
    if not given:
        return secrets.token_urlsafe(18), True
    if not LEAST <= len(given) <= MOST:
        raise _wrong(f"a password has {LEAST} to {MOST} characters", "nothing was changed")
    return given, False


def _tell(name: str, role: str, password: str, as_json: bool) -> None:
    if as_json:
        say(json.dumps({"username": name, "role": role, "password": password or None}))
        return
    if password:
        say(password)
    sys.stderr.write(f"{name} is a {role}, and has to change the password at the next login\n")


def _wrong(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
