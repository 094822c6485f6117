import gzip
import io
import json
import sys

text = open("text", "w")
text.write("text not flushed\n" * 3)
binary = open("binary", "wb")
binary.write(b"binary not flushed")
json.kept = open("kept by a module of the floor", "w")
json.kept.write("kept")
both = open("both", "w+b")
both.write(b"0123456789")
both.seek(2)
both.write(b"x")
if sys.version_info < (3, 14):
    # From 3.14 on its __del__ imports, and so complains in other words where imports have ended
    # already. (It is lost in any case.)
    zipped = gzip.GzipFile("zipped", "wb", mtime=0)
    zipped.write(b"zipped")


class Holder:
    def __init__(self):
        self.me = self
        self.file = open("in a cycle", "w")
        self.file.write("cycle")


Holder()
memory = io.StringIO("never mind")
print("no newline at the end", end="")
