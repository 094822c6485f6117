"""The app for gunicorn with uvicorn workers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from benchmarks.peers import app


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The master holds the listening socket: from here on requests are answered."""
    app.hello()
    yield


APP = FastAPI(lifespan=lifespan)
APP.include_router(app.ROUTER, prefix="/shop")


@APP.get("/turn/{what}")
async def turn(what: str) -> dict[str, Any]:
    """On the loop's own thread on purpose: a worker that is busy takes no second request."""
    return app.turn(what)
