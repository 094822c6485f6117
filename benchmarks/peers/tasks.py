"""The app for Celery: a broker of files, so that no other service is in the figures."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from benchmarks.peers import app

QUEUE = Path(os.environ["PEERS_FOLDER"]) / "queue"
QUEUE.mkdir(exist_ok=True)
APP = Celery("tasks", broker="filesystem://")
APP.conf.update(
    broker_transport_options={
        "data_folder_in": str(QUEUE),
        "data_folder_out": str(QUEUE),
        "control_folder": str(QUEUE.with_name("control")),
        "polling_interval": 0.1,
    },
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    task_ignore_result=True,
    broker_connection_retry_on_startup=False,
)


@worker_process_init.connect
def started(**_: Any) -> None:
    """In the child, right before it takes tasks."""
    app.hello()


@APP.task(name="turn")
def turn(what: str) -> None:
    """A task has no caller that waits: the answer goes to a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.connect(os.environ["PEERS_ANSWERS"])
        link.send(json.dumps(app.turn(what)).encode())


def ask(what: str, count: int) -> None:
    """Queue so many tasks."""
    for _ in range(count):
        turn.delay(what)


if __name__ == "__main__":
    import sys

    ask(sys.argv[1], int(sys.argv[2]))
