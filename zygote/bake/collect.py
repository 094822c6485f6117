"""Collect garbage once, and look at what is left.

The collector has been off since before the first import, but for the fleet's warm-up: a collection
halfway through the imports frees objects in the middle of pages that later imports then fill in
another order, and children would fill the remaining holes, which costs a copied page each. One
collection at the end leaves the holes where `trim` and later stages can deal with them.

After the freeze the collector's lists are empty, so this is also the last moment to find objects
that must not be in a floor; the final audit judges them.
"""

from __future__ import annotations

import gc

from zygote import audit
from zygote.bake.stage import Bake


def run(bake: Bake) -> str:
    """Two full collections (the second takes what finalisers of the first let go)."""
    found = gc.collect()
    found += gc.collect()
    bake.studied = audit.study(bake.ledger)
    return f"{found:,} objects of garbage"
