"""TCP connections that break."""

import contextlib
import socket
import threading


class Relay:
    """Passes on what comes between its own port and another one, as a context.

    cut_after: bytes from the server after which each connection ends
    """

    def __init__(self, address, cut_after=None):
        host, port = address.split(":")
        self._target = (host, int(port))
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = []
        self._lock = threading.Lock()
        self.connections = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut()

    def cut(self):
        """Ends all connections that there are; new ones may come."""
        with self._lock:
            for connection in self._open:
                self._end(connection)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near):
        with near, socket.create_connection(self._target) as far:
            ends = [near, far]
            with self._lock:
                self._open += ends
                self.connections += 1
            up = threading.Thread(target=self._pass_on, args=(near, far, None), daemon=True)
            up.start()
            self._pass_on(far, near, self._cut_after)
            up.join()
            with self._lock:
                for end in ends:
                    self._open.remove(end)

    def _pass_on(self, source, sink, most):
        with contextlib.suppress(OSError):  # cut
            while most != 0 and (data := source.recv(65536 if most is None else min(most, 65536))):
                sink.sendall(data)
                most = None if most is None else most - len(data)
        for end in (source, sink):
            self._end(end)

    @staticmethod
    def _end(connection):
        with contextlib.suppress(OSError):  # the other side was first
            connection.shutdown(socket.SHUT_RDWR)
