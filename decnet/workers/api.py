"""api: the REST interface and event streams, uvicorn on a socket that is bound first of all."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import select

from decnet.context import Context, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.tables import User
from decnet.settings import Settings
from decnet.web.api import auth
from decnet.web.api.app import create_app, forget, prepare
from decnet.web.api.settings import ApiSettings, refuse_weak
from decnet.web.serving import ask, listen, serve

APP = create_app()
REHEARSED = (
    *("/health", "/auth/me", "/logs", "/logs/histogram", "/attackers", "/credentials"),
    *("/sessions", "/deckies", "/stats", "/graph", "/canary/triggers"),
)


async def seed_admin(ctx: Context) -> None:
    """Make the first user where there is none; a generated password goes to a 0600 file."""
    async with ctx.db.session() as session:
        if (await session.execute(select(User.uuid).limit(1))).first() is not None:
            return
    digest = await asyncio.to_thread(auth.hash_password, ctx.settings.admin_password)

    async def insert(session: AsyncSession) -> None:
        if (await session.execute(select(User.uuid).limit(1))).first() is None:
            session.add(User(username=ctx.settings.admin_user, password_hash=digest, role="admin"))

    await ctx.write(insert)


async def main(ctx: Context) -> None:
    """Serve until told to stop.

    Raises:
        SettingsError: a secret is weak (78). WorkerError: the port is taken.
    """
    settings = ApiSettings.from_env()
    refuse_weak(ctx.settings)
    sock = listen(ctx.settings.api_host, ctx.settings.api_port, "DECNET_API_PORT")
    try:
        await seed_admin(ctx)
        served = prepare(APP, ctx, settings)
        host, port = sock.getsockname()[:2]
        await serve(
            ctx,
            served,
            sock,
            f"http://{host}:{port}/api/v1",
            forwarded_allow_ips=list(settings.trusted_proxies),
        )
    finally:
        sock.close()


async def rehearse(folder: Path) -> None:
    """Answer some requests in an empty folder, so that a zygote's copies need not learn to."""
    env = {"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"}
    settings = Settings.from_env(env)
    database = Database(settings.db_url)
    if not (folder / "decnet.db").exists():
        await database.create_all()
    async with open_context("api", settings, notifies=False) as ctx:
        served = prepare(APP, ctx, ApiSettings())
        token = auth.mint(settings.jwt_secret, "warm", "admin")
        for path in REHEARSED:
            for _ in range(2):
                await ask(served, path, token)
    forget(APP)
    await asyncio.sleep(0)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("api", main)


if __name__ == "__main__":
    run()
