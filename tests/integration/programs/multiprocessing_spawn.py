import multiprocessing
import os


class Item:
    def __init__(self, number):
        self.number = number


def square(item):
    return (
        item.number * item.number,
        multiprocessing.parent_process().pid == os.getppid() or "spawn" == "forkserver",
    )


def produce(queue, numbers):
    for number in numbers:
        queue.put(Item(number))
    queue.put(None)


def main():
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.map(square, map(Item, range(10))))
    queue = context.Queue()
    process = context.Process(target=produce, args=(queue, [3, 4, 5]), name="producer")
    process.start()
    print([item.number for item in iter(queue.get, None)])
    process.join()
    print(process.exitcode, process.name, multiprocessing.current_process().name, os.getcwd())
    failing = context.Process(target=os._exit, args=(9,))
    failing.start()
    failing.join()
    print(failing.exitcode, multiprocessing.active_children())


if __name__ == "__main__":
    main()
