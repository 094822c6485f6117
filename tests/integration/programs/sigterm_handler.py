import atexit
import os
import signal
import sys

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"told to go by {number}"))
atexit.register(print, "tidy")
os.kill(os.getpid(), signal.SIGTERM)
print("never")
