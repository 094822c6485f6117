import fcntl
import os
import socket

found = {}
for name in os.listdir("/proc/self/fd"):
    try:
        found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:  # that of the listing
        found[int(name)] = ""
# A zygote has loaded ctypes; newer builds of libffi then keep a descriptor of their library.
print(sorted(number for number, target in found.items() if "/libffi" not in target))
for number in (0, 1, 2):
    print(number, fcntl.fcntl(number, fcntl.F_GETFD), os.get_inheritable(number))
print(os.open("/dev/null", os.O_RDONLY), socket.socketpair()[0].fileno())
os.system("ls /proc/self/fd | head -3")
