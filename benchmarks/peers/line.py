"""A worker without a framework: a request is a line on a UNIX socket of its own.

    python -m benchmarks.peers.line        # a cold process, under supervisord

Used where a peer prescribes no transport. It imports the app only when it runs, so that a master
that merely names it stays small.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path


def serve() -> None:
    """Answer requests until killed."""
    from benchmarks.peers import app

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(Path(os.environ["PEERS_FOLDER"]) / f"{os.getpid()}.sock"))
        listener.listen()
        app.hello()
        while True:
            connection, _ = listener.accept()
            with connection:
                what = connection.recv(4096).decode()
                connection.sendall(json.dumps(app.turn(what)).encode())


if __name__ == "__main__":
    serve()
