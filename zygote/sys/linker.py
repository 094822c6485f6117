"""The dynamic linker's part in what a process writes to.

Facts about ld.so(8):

- The address of a function in another library is looked up at its first call, and noted in a table
  in the library's data (`.got.plt`). After a fork each process notes it in a page of its own:
  some twenty-five pages in libpython, libc, libsqlite3 and others.
- With LD_BIND_NOW in the environment all are looked up when a program and its libraries are loaded.
  Python loads its extensions so in any case (RTLD_NOW).
- It is read once, at exec: a clone may have any environment.
"""

from __future__ import annotations

AT_ONCE = {"LD_BIND_NOW": "1"}
"""To be in the environment of a zygote when it starts."""
