import os
import signal

for number in sorted(signal.valid_signals()):
    name = getattr(number, "name", number)
    print(name, getattr(signal.getsignal(number), "__name__", signal.getsignal(number)))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending())
print(signal.getitimer(signal.ITIMER_REAL), signal.set_wakeup_fd(-1))
for line in open("/proc/self/status"):
    if line.startswith(("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")):
        print(line, end="")
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", frame.f_code.co_name))
os.kill(os.getpid(), signal.SIGUSR1)
