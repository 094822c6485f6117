import asyncio
import sys


async def main():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(input()[::-1]); raise SystemExit(4)",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    print(await process.communicate(b"abc\n"), process.returncode)
    shell = await asyncio.create_subprocess_shell("kill -9 $$")
    print(await shell.wait())


asyncio.run(main())
