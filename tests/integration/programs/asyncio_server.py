import asyncio


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\nworld\n")
    writer.write_eof()
    print(await reader.read())
    writer.close()
    server.close()
    print(await asyncio.to_thread(sum, [1, 2, 3]))
    print(await asyncio.gather(*(asyncio.sleep(0.001 * n, n) for n in (3, 1, 2))))


asyncio.run(main(), debug=False)
print(type(asyncio.new_event_loop()).__name__)
