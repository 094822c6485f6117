import threading
import time

counter = 0
started = threading.Event()


def forever():
    global counter
    while True:
        started.set()
        counter += 1
        time.sleep(0.0001)


def busy():
    global counter
    while True:
        counter += len("x" * 10)


class Last:
    def __del__(self):
        time.sleep(0.02)
        print("last", counter is not None)


last = Last()
threading.Thread(target=forever, daemon=True).start()
threading.Thread(target=busy, daemon=True).start()
started.wait()
print("main ends")
