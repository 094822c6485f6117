import signal
import time


class Timeout(Exception):
    pass


def ring(number, frame):
    raise Timeout(number)


signal.signal(signal.SIGALRM, ring)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(60)
except Timeout as error:
    print(repr(error), flush=True)
signal.signal(signal.SIGALRM, signal.SIG_DFL)
print("dies", flush=True)
signal.alarm(1)
time.sleep(60)
