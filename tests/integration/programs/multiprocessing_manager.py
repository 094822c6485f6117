import multiprocessing


def work(shared, lock, value):
    with lock:
        shared["n"] = shared.get("n", 0) + 1
        value.value += 1


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared, lock, value = manager.dict(), manager.Lock(), multiprocessing.Value("i", 0)
        processes = [
            multiprocessing.Process(target=work, args=(shared, lock, value)) for _ in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(dict(shared), value.value, [process.name for process in processes])
