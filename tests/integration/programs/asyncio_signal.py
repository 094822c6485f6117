import asyncio
import os
import signal


async def main():
    loop = asyncio.get_running_loop()
    got = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        loop.add_signal_handler(number, lambda number=number: (print(number.name), got.set()))
        os.kill(os.getpid(), number)
        await got.wait()
        got.clear()
    print("raising")
    raise ConnectionError("out of asyncio.run")


asyncio.run(main())
