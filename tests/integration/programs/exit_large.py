import sys

print("out")
sys.exit(2**40 + 3)
