"""The floor, and the work: the same under every peer.

The floor is what a small web service imports; `turn` does real work with it: pydantic validates,
SQLAlchemy runs statements on an in-memory SQLite that each process has for itself, FastAPI's
encoder makes the answer. How a request comes in is the peer's own affair.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Annotated, Any

import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401
from fastapi import APIRouter, Depends, FastAPI
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import StaticPool
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, select

ROUTER = APIRouter()
ENGINE = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
"""Connects on first use; every process that does has a database of its own."""
BUSY_SECONDS = 0.03
"""How long a worker that had its turn holds the next request, so that another one takes its own."""


class Line(BaseModel):
    """One line of an order, as it comes in."""

    model_config = ConfigDict(extra="forbid")
    article: Annotated[str, StringConstraints(pattern=r"^[a-z]+-\d+$")]
    count: Annotated[int, Field(ge=1)]
    price: Annotated[float, Field(gt=0)]


class Order(BaseModel):
    """What a request holds."""

    customer: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    lines: list[Line]


class Article(SQLModel, table=True):
    """What is in stock."""

    name: str = Field(primary_key=True)
    stock: int


class Sale(SQLModel, table=True):
    """What was sold."""

    id: int | None = Field(default=None, primary_key=True)
    customer: str = Field(index=True)
    article: str = Field(foreign_key="article.name")
    count: int
    price: float


class Receipt(BaseModel):
    """What the answer holds."""

    customer: str
    total: float
    orders: int
    stock: dict[str, int]


class State:
    """What a process has for itself."""

    filled: bool = False
    done: str = ""
    answer: str = ""


def _session() -> Iterator[Session]:
    with Session(ENGINE) as session:
        yield session


@ROUTER.post("/orders")
def order(given: Order, session: Annotated[Session, Depends(_session)]) -> Receipt:
    """The handler: the stock goes down, the sale is kept, the customer's sum comes back."""
    for line in given.lines:
        article = session.get_one(Article, line.article)
        article.stock -= line.count
        session.add(Sale(customer=given.customer, article=article.name, **_price(line)))
    session.flush()
    total, orders = session.exec(
        select(func.sum(Sale.count * Sale.price), func.count(col(Sale.id))).where(
            Sale.customer == given.customer
        )
    ).one()
    names = [line.article for line in given.lines]
    stock = session.exec(select(Article).where(col(Article.name).in_(names))).all()
    left = {article.name: article.stock for article in stock}
    return Receipt(customer=given.customer, total=total, orders=orders, stock=left)


def _price(line: Line) -> dict[str, Any]:
    return {"count": line.count, "price": line.price}


def _fill() -> None:
    """Make the process's own database, on first use: after the fork, where there is one."""
    if not State.filled:
        SQLModel.metadata.create_all(ENGINE)
        with Session(ENGINE) as session:
            session.add_all(Article(name=f"part-{n}", stock=10**6) for n in range(20))
            session.commit()
        State.filled = True


def work(rounds: int) -> str:
    """So many requests' work; a digest of all answers, which is the same in every process."""
    digest = hashlib.sha256()
    _fill()
    for number in range(rounds):
        lines = [
            {"article": f"part-{(number + n) % 20}", "count": n + 1, "price": n + 0.5}
            for n in range(3)
        ]
        body = json.dumps({"customer": f"customer {number % 7}", "lines": lines})
        with Session(ENGINE) as session:
            receipt = order(Order.model_validate_json(body), session)
            session.commit()
        digest.update(json.dumps(jsonable_encoder(receipt), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def turn(what: str) -> dict[str, Any]:
    """Do `what` ("work:ROUNDS" or "collect") once in this process; who did it, and the answer.

    Where all workers share one socket or queue, the asker cannot choose who gets a request. So one
    that had this turn before only waits a moment: the asker asks until everybody has answered.
    """
    if State.done == what:
        time.sleep(BUSY_SECONDS)
    else:
        State.answer = "collected"
        if what == "collect":
            gc.collect()
        else:
            State.answer = work(int(what.partition(":")[2]))
        State.done = what
    return {"pid": os.getpid(), "answer": State.answer}


def hello() -> None:
    """Tell the benchmark that this worker is there; each peer calls it as its last step."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.connect(os.environ["PEERS_HELLO"])
        link.send(str(os.getpid()).encode())


def warm() -> None:
    """Run the hot path, and leave no connection: for the bake."""
    work(12)
    ENGINE.dispose()
    State.filled = False


APP = FastAPI()
"""Part of the floor; the ASGI peer serves an app of its own, which has a lifespan."""
APP.include_router(ROUTER)
