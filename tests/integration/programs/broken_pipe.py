import os
import sys

reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.close(writer)
try:
    print("to nobody", flush=True)
except BrokenPipeError as error:
    print(error, file=sys.stderr)
