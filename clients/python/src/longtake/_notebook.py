"""A video that plays in a notebook while it is made, and is part of the notebook afterwards."""

import base64
import http.server
import secrets
import threading
from typing import TYPE_CHECKING

from IPython.display import HTML, display

if TYPE_CHECKING:
    from longtake._client import Stream

_LIVE = """<video controls muted width=640 autoplay src="{url}" ontimeupdate="window['{key}'] = this.currentTime"></video>"""
# Continues at the live player's position. When a saved notebook is opened, there is none, and it does not start by itself.
_WHOLE = """<video controls muted width=640 src="data:video/mp4;base64,{data}" onloadedmetadata="
if (window['{key}']) {{ this.currentTime = window['{key}']; this.play(); }}"></video>"""


class _Growing:
    """A growing buffer: one thread appends, others read from the beginning."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._ended = False
        self._changed = threading.Condition()

    def add(self, data: bytes, last: bool = False) -> None:
        with self._changed:
            self.data += data
            self._ended = last
            self._changed.notify_all()

    def after(self, position: int) -> bytes:
        """Blocks until there are bytes after the position, and returns them; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self.data) > position)
            return bytes(self.data[position:])


def _serve(video: _Growing, path: str) -> http.server.ThreadingHTTPServer:
    """Serves the video on a loopback port, under a path that other pages in the browser cannot guess."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != path:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.end_headers()
            position = 0
            while part := video.after(position):
                try:
                    self.wfile.write(part)
                except ConnectionError:  # the player was closed
                    return None
                position += len(part)

        def log_message(self, *_: object) -> None:
            pass  # not into the notebook

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def play(stream: "Stream") -> None:
    """Shows a player that reads from this process. At the end it is replaced by one that contains the video.

    A browser on another machine than the kernel cannot connect to the first, and shows the video at the end only.
    """
    key = secrets.token_urlsafe(16)
    video = _Growing()
    with _serve(video, f"/{key}.mp4") as server:
        shown = display(HTML(_LIVE.format(key=key, url=f"http://127.0.0.1:{server.server_port}/{key}.mp4")), display_id=True)
        try:
            for data in stream.media():
                video.add(data)
        finally:
            video.add(b"", last=True)
            server.shutdown()
            shown.update(HTML(_WHOLE.format(key=key, data=base64.b64encode(video.data).decode())))
