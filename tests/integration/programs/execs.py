import os
import sys

kept = os.open("/dev/null", os.O_RDONLY)
os.environ["ADDED"] = "1"
print("before", flush=True)
code = "import os, sys; print(sys.argv, os.environ['ADDED'], sorted(os.listdir('/proc/self/fd')))"
os.execv(sys.executable, [sys.executable, "-c", code, "x"])
