import sys

for name in ("stdin", "stdout", "stderr"):
    for stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
        print(stream, stream.errors, stream.newlines, stream.line_buffering, stream.write_through)
        print(type(stream.buffer), stream.fileno(), stream.isatty(), stream.closed, stream.name)
    print(getattr(sys, name) is getattr(sys, f"__{name}__"))
