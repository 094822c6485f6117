import threading
import time

print(threading.current_thread().name, threading.main_thread() is threading.current_thread())
print(threading.active_count(), threading.get_native_id() == __import__("os").getpid())
results = []
local = threading.local()


def work(number):
    local.value = number
    results.append(local.value)


threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(results), [thread.name for thread in threads])


def late():
    time.sleep(0.2)
    print("a thread outlives the main one", "__file__" in globals())


threading.Thread(target=late).start()
print("main ends")
