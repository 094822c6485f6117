"""From the clone to the user's code, and to its end.

`main.become_worker` is called once in a process that was just cloned from a zygote. It reads the
request (`request`), makes the process what the request asks for by a fixed list of steps
(`steps`), says that it is up, runs the program as `python` would (`program`), and ends the process
as `python` would (`finish`).

What cannot be made to look as under `python`, because it is settled when an interpreter starts:
`sys.flags`, the hash seed and the file system encoding are the zygote's; so `PYTHONHASHSEED`,
`PYTHONOPTIMIZE`, `PYTHONDEVMODE`, `PYTHONMALLOC` and `PYTHONUTF8` (but for stdio) in a worker's
environment reach only the interpreters that the worker itself starts. `sys._getframe` sees some
frames of the zygote below the program's first one, and what the floor imported is imported.
"""
