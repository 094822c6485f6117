# env: PYTHONINTMAXSTRDIGITS=1000 PYTHONPYCACHEPREFIX=/nonexistent
# env: PYTHONSAFEPATH=1 PYTHONFAULTHANDLER=1
import faulthandler
import os
import subprocess
import sys

print(sys.get_int_max_str_digits(), sys.pycache_prefix, faulthandler.is_enabled(), sys.path[0][-4:])
os.putenv("PUT", "1")
os.environ["SET"] = "ü"
del os.environ["TMPDIR"]
print(subprocess.run("env | grep -E 'PUT|SET|TMP'", shell=True, capture_output=True).stdout)
print("FLOOR_WAS_HERE" in os.environ, os.environb[b"SET"])
