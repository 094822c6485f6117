import concurrent.futures
import threading


def work(number):
    if number == 3:
        raise ValueError("three")
    return number * 2


if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(3, thread_name_prefix="pool") as pool:
        print(list(pool.map(work, [1, 2])), pool.submit(work, 3).exception())
        print(pool.submit(lambda: threading.current_thread().name.startswith("pool")).result())
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(work, [1, 2])), repr(pool.submit(work, 3).exception()))
    left = concurrent.futures.ThreadPoolExecutor(1)
    left.submit(print, "left to the exit")
