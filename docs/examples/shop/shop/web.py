"""The web application: POST /customers/NAME sends a task, GET /tasks/NUMBER tells how it is."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException

from shop import queue

app = FastAPI(title="shop")


@app.post("/customers/{name}", status_code=202)
def add_customer(name: str) -> dict[str, int]:
    """A customer comes; the mail is the queue's business."""
    return {"task": queue.send("welcome", name)}


@app.get("/tasks/{number}")
def show_task(number: int) -> dict[str, Any]:
    """How a task is."""
    found = queue.look(number)
    if found is None:
        raise HTTPException(404)
    return found


def main() -> None:
    """Serve on $SHOP_PORT, 8000 by default."""
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("SHOP_PORT", "8000")))
