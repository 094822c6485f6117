import sys

shown = {name: repr(value).split(" at 0x")[0] for name, value in globals().items() if name != "sys"}
print(sys.modules["__main__"].__dict__ is globals(), shown, sep="\n")
