# merged: yes
import os
import sys

print("stdout 1")
print("stderr 1", file=sys.stderr)
sys.stdout.flush()
os.write(1, b"raw\n")
os.system("echo shell")
print("stdout 2")
print("stderr 2", file=sys.stderr)
