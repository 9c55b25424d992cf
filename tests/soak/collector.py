"""A collector of traces, which takes what servers send and is away now and then."""

import http.server
import threading

AWAY = 5  # one request of so many is refused


class Collector:
    def __init__(self) -> None:
        self.taken = self.refused = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.next_status())
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the base class writes a line for each request."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_status(self) -> int:
        """A server has one connection, so it asks for one at a time."""
        if (self.taken + self.refused) % AWAY == AWAY - 1:
            self.refused += 1
            return 503
        self.taken += 1
        return 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
