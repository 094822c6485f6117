"""The same small app under other ways to run N Python processes: memory, start, crash, stop.

    .venv/bin/python benchmarks/peers.py [--n 8] [--peers zygote,gunicorn] [--rounds 200] [--json]

The peers run one after the other on this machine, each in a tree of its own under this process:

    supervisord     N cold processes
    forkserver      multiprocessing, with set_forkserver_preload; the parent stays small
    os.fork         import, fork
    os.fork frozen  import, warm up, gc.freeze(), fork: what can be had without a zygote
    gunicorn        --preload, uvicorn workers
    uwsgi           no lazy-apps
    celery          prefork
    zygote          ours: a template, the manager, the default bake with its warm-up

Memory is PSS and page tables of all the peer's processes, masters included, in MB of 10^6 bytes,
and the private memory (USS) of the median worker: idle; after ROUNDS of work in every worker; after
a full gc.collect() in every worker, which any long-lived process comes to. Start is from the
command to the last worker's hello (the quicker of 2), stop from SIGTERM of the master until no
process is left. Crash, in a second run, is from SIGKILL of an idle worker to the hello of another
(median of 3); all must then answer once more, else there is no figure.

Held constant: interpreter, installed files, compiled bytecode, the imports, the work (every worker
must come to the same answer), no cgroup limits. Not constant: the transport, which is the peer's
own (a UNIX socket per worker; HTTP; tasks), with the server code that it brings; the warm-up, which
only `zygote` and `os.fork frozen` have; what a peer does beside (logs, a control socket). Pages of
libraries are shared with other Pythons on the machine, which lowers every PSS a little. Celery
has no broker service here but files, and so its synchronous pool, whose children share one locked
queue. Packages go to .venv-peers; uWSGI is built from source.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import ask, running, table, tree, venv
from benchmarks.peers.kinds import PEERS, Peer, version
from benchmarks.support import options
from benchmarks.support.about import about


def say(line: str) -> None:
    """Progress, for people."""
    print(f"peers.py: {line}", file=sys.stderr, flush=True)


def row(peer: Peer, versions: dict[str, str], n: int, rounds: int) -> dict[str, Any]:
    """One peer's row; one that cannot be had says why instead of figures."""
    found = version(peer, versions)
    head = {"peer": peer.name, "version": found}
    if found.startswith("not available"):
        return head | {"version": None, "note": found}
    say(f"{peer.name}, {n} workers …")
    try:
        return head | running.measure(peer, n, rounds)
    except (ask.Unanswered, OSError) as error:
        return head | {"note": f"failed: {error}"}


def main() -> int:
    names = [peer.name for peer in PEERS]
    parser = options.parser(__doc__)
    parser.add_argument("--n", type=int, default=8, help="workers (default 8)")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of work (default 200)")
    parser.add_argument("--peers", default=",".join(names), help="which ones, with commas")
    given = parser.parse_args()
    chosen = given.peers.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    versions = venv.make()
    venv.compile_app()
    tree.adopt()
    try:
        rows = [row(p, versions, given.n, given.rounds) for p in PEERS if p.name in chosen]
    finally:
        tree.end_all()
    result = {
        "n": given.n,
        **about(),
        "floor": "benchmarks.peers.app",
        "rounds": given.rounds,
        "load": round(os.getloadavg()[2], 1),
        "peers": rows,
    }
    print(json.dumps(result) if given.json else table.text(result))
    failed = any(each["note"].startswith("failed") for each in rows)
    answers = {each["answer"] for each in rows if "answer" in each}
    if len(answers) > 1:
        say("the workers did not all come to the same answer")
    return 1 if failed or len(answers) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
