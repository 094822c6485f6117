"""The FastAPI application: built once, in the floor; what differs per process is on `app.state`.

`app.state.ctx` (the worker's Context) is set before the server starts. Rows are read from the
database only: the bus merely wakes the event stream, which polls where the bus is away.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.cors import CORSMiddleware

from decnet.context import Context
from decnet.db.errors import StorageError
from decnet.web.api import auth, docs
from decnet.web.api.headers import App, Shell
from decnet.web.api.registry import Registry
from decnet.web.api.routes import (
    attackers,
    canary,
    config,
    credentials,
    deckies,
    graph,
    groups,
    health,
    login,
    logs,
    sessions,
    stream,
    ttp,
    users,
    webhooks,
    workers,
)
from decnet.web.api.settings import ApiSettings
from zygote.errors import ZygoteError

OLD = (health, login, logs, attackers, stream)
"""Reachable without the prefix as well, unlisted."""
ROUTES = (
    *OLD,
    *(users, credentials, sessions, groups, graph, ttp, deckies),
    *(canary, webhooks, workers, config),
)
HASHES_AT_ONCE = 2


def create_app() -> FastAPI:
    """The application, with its routes under /api/v1."""
    app = FastAPI(title="DECNET", version="1", docs_url=None, openapi_url="/api/openapi.json")
    for module in ROUTES:
        app.include_router(module.router, prefix="/api/v1")
    for module in OLD:
        app.include_router(module.router, include_in_schema=False)
    app.add_api_route("/api/docs", _docs, include_in_schema=False)
    app.add_exception_handler(StorageError, _storage)
    app.add_exception_handler(ZygoteError, _fault)
    app.add_exception_handler(SQLAlchemyError, _storage)
    return app


def prepare(app: FastAPI, ctx: Context, settings: ApiSettings) -> App:
    """Bind the application to a worker.

    Returns:
        What is to be served: the application in its shell.
    """
    values = {
        "ctx": ctx,
        "started": time.monotonic(),
        "brake": auth.LoginBrake(),
        "nobody_hash": auth.nobody(),
        "hashing": asyncio.Semaphore(HASHES_AT_ONCE),
        "registry": Registry(ctx.bus),
        "tasks": set(),
        "streams": stream.Streams(settings.streams_most),
    }
    for name, value in values.items():
        setattr(app.state, name, value)
    served: Any = app
    if ctx.settings.cors_origins:
        served = CORSMiddleware(
            app,
            allow_origins=list(ctx.settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        )
    return Shell(served)


def forget(app: FastAPI) -> None:
    """Unbind the application from its worker."""
    for name in list(app.state._state):
        delattr(app.state, name)


async def _docs(request: Request) -> HTMLResponse:
    headers = {"Content-Security-Policy": docs.POLICY}
    return HTMLResponse(docs.page(request.app.openapi()), headers=headers)


async def _storage(request: Request, error: Exception) -> JSONResponse:
    text = f"the database cannot answer now: {type(error).__name__}"
    return JSONResponse({"detail": text}, 503, headers={"Retry-After": "2"})


async def _fault(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ZygoteError)
    missing = error.code.startswith("no-") or error.message.startswith("no ")
    return JSONResponse({"detail": error.message, "hint": error.hint}, 404 if missing else 422)
