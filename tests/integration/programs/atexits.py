import atexit
import threading
import weakref


class Thing:
    def __del__(self):
        print("del")


thing = Thing()
other = Thing()
weakref.finalize(thing, print, "finalize")
atexit.register(print, "first registered")


@atexit.register
def failing():
    raise ValueError("in an exit callback")


@atexit.register
def second():
    print("second, threads:", threading.active_count())
    atexit.register(print, "registered at exit")


atexit.register(print, "unregistered")
atexit.unregister(print)
atexit.register(print, "registered again")
print("main ends")
raise SystemExit(3)
