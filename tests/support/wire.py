"""A TCP connection that a test can cut: it stands between a client and a server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.app.tasks import spawn


class Wire:
    """Passes bytes on both ways, until `cut`. Made by `wire`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._whole = True
        self._writers: set[asyncio.StreamWriter] = set()
        self.sent = bytearray()
        """What clients have sent, over all connections."""

    def cut(self) -> None:
        """End every connection, and every new one as soon as it is made."""
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let new connections through."""
        self._whole = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        one = spawn(_pass_on(reader, far_writer, self.sent), name="wire")
        await _pass_on(far_reader, writer, bytearray())
        await one
        self._writers -= {writer, far_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noted: bytearray) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            noted += data
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A wire to a port on loopback; `port` of it is what a client dials."""
    made = Wire(port)
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
