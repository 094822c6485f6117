"""stdout cannot be written: told at the end, with a status of its own."""

import os

full = os.open("/dev/full", os.O_WRONLY)
os.dup2(full, 1)
print("into nothing")
