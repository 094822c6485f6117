"""Put the floor into huge pages, so that a clone copies fewer page table entries.

What a fork costs is mostly the copying of page tables: an entry for each 4 KiB of the floor, one
for 2 MiB where the floor lies in huge pages. It saves no memory and costs none: a worker that
writes to a huge page splits it and copies 4 KiB. Blocks that are half empty are left alone, lest
the empty half become memory.

Otherwise huge pages are off, for the zygote and for its workers: the kernel's own collector of
small pages (khugepaged) would copy 2 MiB of what is shared to join a few pages of a worker's.
"""

from __future__ import annotations

import contextlib

from zygote.bake.stage import Bake, Skipped
from zygote.sys import hugepages, prctl

_WORTH = 448
"""Small pages of 512 that must be there already."""


def run(_bake: Bake) -> str:
    """Collapse what is worth it, with huge pages switched on for just that long.

    Raises:
        Skipped: the kernel cannot.
    """
    try:
        prctl.set_thp_disable(False)
        done, errno = _collapse()
    except OSError as error:
        raise Skipped(str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            prctl.set_thp_disable()
    if not done:
        raise Skipped(f"no huge page could be made (errno {errno})")
    return f"{done * hugepages.SIZE / 1e6:.0f} MB in {done} huge pages"


def _collapse() -> tuple[int, int]:
    if hugepages.page_size() != hugepages.SIZE:
        raise Skipped("the kernel has no huge pages of 2 MiB for anonymous memory")
    done = errno = 0
    for block in hugepages.blocks():
        if hugepages.resident(block) >= _WORTH:
            failed = hugepages.collapse(block)
            done += not failed
            errno = failed or errno
    return done, errno
