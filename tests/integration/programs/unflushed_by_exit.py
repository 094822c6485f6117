import os
import sys

kept = open("kept", "w")
kept.write("lost with _exit")
print("printed and lost")
sys.stderr.write("stderr is written\n")
os._exit(7)
