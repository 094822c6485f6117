import sys

for number in range(20000):
    print(f"{number:06} " + "x" * 40)
sys.stderr.write("y" * 300_000)
