"""`python -m zygote.cli` is `zygotectl`."""

from __future__ import annotations

import sys

from zygote.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
