# run: {here}/argv.py one "two three" --four=5 ""
import sys

print(sys.argv, sys.orig_argv, sys.path[0], sys.executable)
