# see: "first"
# type: "one\n"
# see: "'one"
# type: "two\n"
# see: "'two"
# type: "\x04"
import sys

print("first", end="")
sys.stdout.flush()
for line in sys.stdin:
    print(repr(line))
print("fails")
raise ValueError("on a terminal")
