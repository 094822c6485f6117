# env: PYTHONTRACEMALLOC=2
import sys
import tracemalloc

print(tracemalloc.is_tracing(), tracemalloc.get_traceback_limit(), sys.gettrace(), sys.getprofile())
