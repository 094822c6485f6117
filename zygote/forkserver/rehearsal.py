"""The program of `zygote.forkserver.rehearse`, for ways to run one that import it anew."""

import asyncio
import sys

asyncio.run(sys.modules["zygote.forkserver.rehearse"].perform())
