"""The app for uWSGI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import uwsgidecorators

from benchmarks.peers import app


@uwsgidecorators.postfork
def forked() -> None:
    """In the worker, right before it takes requests."""
    app.hello()


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """GET /turn/WHAT"""
    body = json.dumps(app.turn(environ["PATH_INFO"].rpartition("/")[2])).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
