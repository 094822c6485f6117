import os
import sys
import threading

print("in the buffer of both")
pid = os.fork()
if pid == 0:
    print("child", threading.current_thread() is threading.main_thread(), __name__)
    sys.exit(3)
print("parent", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
