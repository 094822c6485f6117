"""ATT&CK and the package's rules, compiled once: before a zygote freezes, or at the first use.

load_shared()       in the zygote's warm-up: all children have it without a private page
get_shared()        in a worker; makes it where no zygote did
"""

from __future__ import annotations

from decnet.ttp.catalogue import Shared, load_package

_made: list[Shared] = []


def load_shared() -> Shared:
    """Make it, if it is not there yet. Leaves no file open and no thread behind.

    Raises:
        RuleFileError: a rule of the package is wrong.
    """
    if not _made:
        _made.append(load_package())
    return _made[0]


def get_shared() -> Shared:
    """What `load_shared` made; makes it where nobody did."""
    return load_shared()
