"""`python -m tests.benchmark.delay_proxy PORT TARGET`: a TCP proxy that delays all bytes.

It listens on PORT of 127.0.0.1 and forwards to the port TARGET. Each line of its standard input is
a new delay in seconds for each direction; the end of the input ends it. Unlike a queue of the
kernel, it needs no module of the kernel and no privilege.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from contextlib import suppress

_PIECE = 64 * 1024
_END = b""


class DelayProxy:
    """Forwards bytes in order, each of them `delay` seconds after it arrived.

    A new connection waits for a round trip, as the handshake of TCP does.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target

    async def listen(self, port: int) -> asyncio.Server:
        """Accept connections to a port; 0 selects a free one."""
        return await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.delay)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(
                self._forward(reader, far_writer), self._forward(far_reader, writer)
            )
        finally:
            for end in (writer, far_writer):
                end.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        await asyncio.gather(
            _ignoring_errors(self._receive(reader, pieces)),
            _ignoring_errors(_send(pieces, writer)),
        )

    async def _receive(
        self, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        clock = asyncio.get_running_loop().time
        data = b"-"
        try:
            while data:
                data = await reader.read(_PIECE)
                pieces.put_nowait((clock() + self.delay, data))
        finally:
            pieces.put_nowait((clock() + self.delay, _END))


async def _send(pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, data = await pieces.get()
        await asyncio.sleep(due - clock())
        if data == _END:
            writer.write_eof()
            return
        writer.write(data)
        await writer.drain()


async def _ignoring_errors(work: Awaitable[None]) -> None:
    """Await something; that a connection was reset is no error of the proxy."""
    with suppress(OSError):
        await work


async def _main(port: int, target: int) -> None:
    proxy = DelayProxy(target)
    server = await proxy.listen(port)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    async with server:
        while line := await asyncio.to_thread(sys.stdin.readline):
            proxy.delay = float(line)
            sys.stdout.write(f"{proxy.delay}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:3])))
