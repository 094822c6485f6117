# env: PYTHONUNBUFFERED=1
# merged: yes
import sys

for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream, type(stream.buffer), stream.line_buffering, stream.write_through)
sys.stderr.write("second ")
sys.stdout.write("third ")
sys.stderr.write("fourth ")
