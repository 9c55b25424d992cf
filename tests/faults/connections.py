"""Many raw connections to one port, which are held until they are closed."""

import contextlib
import socket


class Connections:
    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def open(self, port: int, count: int, data: bytes) -> None:
        """Without waiting for the server: each sends this as soon as it is connected, if the server takes it."""
        made = []
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                connection.connect(("127.0.0.1", port))
            made.append(connection)
        self._open += made
        for connection in made:
            # Loopback connects at once, unless the queue of the listener is full.
            with contextlib.suppress(OSError):
                connection.send(data)

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._open.clear()
