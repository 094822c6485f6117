import sys

from pack import sub

print(__name__, __package__, __spec__.name, sys.argv, sub.NAME)
print(sys.modules["__main__"].__spec__ is __spec__, sys.path[0])
