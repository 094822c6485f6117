"""Memory that goes back to how it was kept; in processes of their own, which fork."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, os, sys
from zygote.sys import backed, pagemap
PAGE = pagemap.PAGE
at = backed.take(8 * PAGE)
def get(page):
    return ctypes.string_at(at + page * PAGE, 4)
def put(page, text):
    ctypes.memmove(at + page * PAGE, text, 4)
def own():
    return sum(len(pages.anonymous) for pages in pagemap.read_private(os.getpid())
               if pages.mapping.path == backed.PATH)
for page in range(8):
    put(page, b"kept")
print(backed.restore(), get(0))
backed.keep(at, 8 * PAGE)
print(own(), {get(page) for page in range(8)})
put(0, b"mine")
child = os.fork()
if child == 0:
    put(1, b"hers")
    print(get(0), get(1), get(2), own())
    print(backed.restore(), get(0), get(1), own(), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(get(0), get(1))
print(backed.restore(), get(0), own())
for mapping in pagemap.read_maps(os.getpid()):
    if mapping.path == backed.PATH and mapping.writable:
        place = f"/proc/self/map_files/{mapping.begin:x}-{mapping.end:x}"
        try:
            with open(place, "r+b", buffering=0) as file:
                file.write(b"evil")
        except OSError as error:
            print(type(error).__name__)
print(get(0))
"""


def test_what_was_written_since_is_gone_and_nobody_elses_is() -> None:
    done = subprocess.run([sys.executable, "-uc", SCRIPT], capture_output=True, text=True)
    assert not done.stderr
    assert done.stdout.splitlines() == [
        "False b'kept'",  # nothing is kept yet
        "0 {b'kept'}",
        "b'mine' b'hers' b'kept' 1",
        "True b'kept' b'kept' 0",
        "b'mine' b'kept'",
        "True b'kept' 0",
        "PermissionError",  # by its seals, or not our business without rights
        "b'kept'",
    ]
