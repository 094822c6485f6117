"""Look-ups in classes that are made ahead of workers; in processes of their own, which fork."""

from __future__ import annotations

import subprocess
import sys

BEGIN = """
import os, sys
from zygote.bake import lookups
from zygote.sys import backed, pagemap

class Shop:
    price = 1
    def open(self): return "open"
class Corner(Shop):
    pass
NAMES = [sys.intern(f"name{n}") for n in range(600)]
for name in NAMES:
    setattr(Shop, name, name)

def all_of_it(shop):
    return [getattr(shop, name) for name in NAMES] + [shop.price, shop.open()]
"""
REPEATED = f"""{BEGIN}
table = lookups.Table()
all_of_it(Corner())
seen = table.read()
names = {{each.name for each in seen}}
print(len(names & set(NAMES)) > 100, {{"price", "open"}} <= names)
sys._clear_type_cache()
left = len(table.read())
planned = lookups.plan([*seen, lookups.Seen(2**31, seen[0].at, "no such class"),
                        lookups.Seen(seen[0].version, 8, "no such name")])
lookups.repeat()
again = {{each[0::2] for each in table.read()}}
print(left < 100, planned > 100, len(again & {{each[0::2] for each in seen}}) / planned > 0.9)
"""
KEPT = f"""{BEGIN}
all_of_it(Corner()), all_of_it(Corner())
lookups.plan(lookups.Table().read())
print(lookups.keep() or "kept")
def own():
    return sum(pages.count for pages in pagemap.read_private(os.getpid())
               if pages.mapping.path == backed.LOOKUPS_PATH)
child = os.fork()
if child == 0:
    for name in NAMES:  # of no class that is planned
        type("New", (), {{name + "!": 1}})().__getattribute__(name + "!")
    before = own()
    backed.restore(backed.LOOKUPS)
    print(before > 3, own() < before)
    def forget():
        backed.restore(backed.LOOKUPS)
    # What a class has now is found, whatever the table said.
    corner = Corner()
    Shop.price = 2
    forget(); print(corner.price, end=" ")
    Corner.price = 3
    forget(); print(corner.price, end=" ")
    del Corner.price
    forget(); print(corner.price, end=" ")
    del Shop.price
    forget(); print(hasattr(corner, "price"), end=" ")
    Corner.__bases__ = (type("Other", (), {{"price": 4, "open": lambda self: "shut"}}),)
    forget(); print(corner.price, corner.open(), end=" ")
    sys._clear_type_cache()
    forget(); print(corner.open(), Shop().open(), Shop.name7)
    for n in range(2000):  # classes come and go, and take the places of others
        kind = type("Brief", (), {{"price": n, f"own{{n}}": n}})
        assert kind().price == n and getattr(kind(), f"own{{n}}") == n
        if n % 50 == 0:
            forget()
        assert kind.price == n
    print("done", flush=True)
    os._exit(0)
print("ended", os.waitpid(child, 0)[1])
"""


def run(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-uc", script], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_what_was_looked_up_is_looked_up_again() -> None:
    assert run(REPEATED) == ["True True", "True True True"]


def test_going_back_to_kept_look_ups_changes_no_answer() -> None:
    if sys.version_info < (3, 12):  # names are counted, so nothing is kept
        assert run(KEPT)[0] == "no immortal reference counts before Python 3.12"
        return
    assert run(KEPT) == [
        "kept",
        "True True",
        "2 3 2 False 4 shut shut open name7",
        "done",
        "ended 0",
    ]
