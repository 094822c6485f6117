import sys
import threading


def fail():
    raise ValueError("in a thread")


def leave():
    sys.exit("ignored in a thread")


for target in (fail, leave):
    thread = threading.Thread(target=target, name="worker")
    thread.start()
    thread.join()
print("still here")
