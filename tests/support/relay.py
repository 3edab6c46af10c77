"""A TCP port for a Unix socket, as a process: `relay.py HOST SOCKET` prints its port."""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner, outer = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pump(reader, outer), pump(inner, writer))


async def main() -> None:
    server = await asyncio.start_server(client, sys.argv[1], 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
