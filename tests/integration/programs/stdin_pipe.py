# stdin: first\nsecond \xe4\nthird\r\n
import sys

print(repr(input()), repr(input()), [repr(line) for line in sys.stdin])
print(sys.stdin.read() == "", sys.stdin.buffer.read())
try:
    input("prompt ")
except EOFError as error:
    print(error)
