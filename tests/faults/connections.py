"""Many raw connections to one port, which are held until they are closed, and what can be sent on them."""

import contextlib
import random
import socket
import ssl


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


def garbage(rng: random.Random) -> bytes:
    """Bytes that are no request, to one of a server's ports."""
    noise = rng.randbytes(rng.randrange(1, 4000))
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return rng.choice(
        (
            noise,
            preface + noise,
            # A frame of a kind that is not known, one of settings that is too long, one of headers that are none.
            preface + b"\x00\x00\x04\xff\x00\x00\x00\x00\x01abcd",
            preface + b"\xff\xff\xff\x04\x00\x00\x00\x00\x00" + noise,
            preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x08\x01\x05\x00\x00\x00\x01" + noise[:8],
            b"GET " + noise + b" HTTP/1.1\r\n\r\n",
            b"POST /v1/videos HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n" + noise,
            b"POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + noise,
            b"POST /v1/videos HTTP/1.1\r\nContent-Length: 40\r\n\r\n" + b'{"prompt": ' + noise[:29],
            b"GET / HTTP/1.1\r\n" + b"X: " + noise * 20,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
        )
    )


def client_hello() -> bytes:
    """The first message of a TLS handshake, as gRPC's clients send it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()
