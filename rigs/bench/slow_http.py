"""A web server of which every answer takes 100 ms: what handlers wait for that call others.

    python -m rigs.bench.slow_http FILE

Writes its port into the file as soon as it listens.
"""

import asyncio
import sys
from pathlib import Path

TAKES = 0.1  # seconds
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(TAKES)
    writer.write(_ANSWER)
    await writer.drain()
    writer.close()


async def ask(port: int) -> bytes:
    """The whole answer of such a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    answered = await reader.read()
    writer.close()
    return answered


async def serve(file: Path) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
    beside = file.with_suffix(".new")
    beside.write_text(str(server.sockets[0].getsockname()[1]))
    beside.replace(file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
