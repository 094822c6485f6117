"""Every status there is, by children that leave in different ways."""

import os
import sys

seen = []
for code in [*range(256), 256, 300, -1, -300, 2**40 + 3, True]:
    pid = os.fork()
    if pid == 0:
        sys.exit(code)
    seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(seen)
sys.exit(201)
