import setproctitle

setproctitle.setproctitle("short")
print(setproctitle.getproctitle(), open("/proc/self/cmdline").read().rstrip("\0"))
print(open("/proc/self/comm").read())
