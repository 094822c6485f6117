import os
import resource

print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error, opened)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
try:
    with open("small", "wb", buffering=0) as small:
        print(small.write(b"12345678"))
        small.write(b"9")
except OSError as error:
    print(error)
