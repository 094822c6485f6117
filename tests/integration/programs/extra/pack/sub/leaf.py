import sys

from . import NAME

print(__name__, __package__, __spec__.name, __file__, sys.argv, sys.orig_argv, NAME)
sys.exit(5)
