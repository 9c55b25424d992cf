"""Clients that are slow, stuck, many, or none of ours."""

import contextlib
import http.client
import random
import socket
import threading

from tests.faults.cluster import Cluster, Setup
from tests.faults.connections import Connections, client_hello, garbage
from tests.faults.fault import Fault
from tests.faults.processes import pause


class Readers(Fault):
    """Each video has one more reader, over HTTP, that reads its file slowly or stops reading for as long as the fault lasts."""

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._over = threading.Event()
        self._cluster = cluster
        self._files: dict[str, bytes | str] = {}
        self._threads: list[threading.Thread] = []
        self._finder = threading.Thread(target=self._find, args=(random.Random(rng.random()),), daemon=True)
        self._finder.start()

    def _find(self, rng: random.Random) -> None:
        known: set[str] = set()
        while not self._over.is_set():
            for video in list(self._cluster.accepted):
                if video in known:
                    continue
                known.add(video)
                arguments = (video, random.Random(rng.random()))
                thread = threading.Thread(target=self._read, args=arguments, daemon=True)
                thread.start()
                self._threads.append(thread)
            pause()

    def _read(self, video: str, rng: random.Random) -> None:
        # Where another fault is in as well, that may be what has refused or cut it.
        while not self._read_once(video, self._cluster.any_server(rng).port) and not self.alone:
            pause()

    def _read_once(self, video: str, port: int) -> bool:
        """Whether it was let in, and read to the end."""
        with contextlib.closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(
                    f"GET /v1/{video}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                answer = http.client.HTTPResponse(connection)
                self.wait_before_reading()
                answer.begin()
                data = b""
                while part := answer.read1(1024):
                    data += part
                    self.wait_while_reading()
                self._files[video] = data
                return answer.status == 200
            except (OSError, http.client.HTTPException) as error:
                self._files[video] = f"{type(error).__name__}: {error}"
                return False

    def wait_before_reading(self) -> None:
        """Until it reads the first byte."""

    def wait_while_reading(self) -> None:
        """Behind each KiB."""

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._over.set()
        self._finder.join()
        for thread in self._threads:
            thread.join()
        self._whole = {video: self._read_again(cluster, rng, video) for video in self._files}

    @staticmethod
    def _read_again(cluster: Cluster, rng: random.Random, video: str) -> bytes:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", cluster.any_server(rng).port)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", f"/v1/{video}/stream.mp4")
                answer = connection.getresponse()
                if answer.status == 200:
                    return answer.read()
            pause()

    def problems(self) -> list[str]:
        return [
            f"{video}: a slow reader has {data if isinstance(data, str) else f'{len(data)} bytes'}"
            for video, data in self._files.items()
            if data != self._whole[video]
        ]


class SlowReaders(Readers):
    name, what = "slow-readers", "every video has a reader more, which takes 1 KiB in 5 ms until the fault is over"

    def wait_while_reading(self) -> None:
        self._over.wait(0.005)


class StuckReaders(Readers):
    name, what = "stuck-readers", "every video has a reader more, which reads nothing until the fault is over"
    lasts = (1.0, 2.5)

    def wait_before_reading(self) -> None:
        self._over.wait()


class Flood(Fault):
    name, what = "connection-flood", "2,000 connections to the ports of a server, with nothing or half a request on them"
    COUNT = 2000

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections = Connections()
        server = cluster.victim(rng)
        starts = (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v1/videos HTTP/1.1\r\nHost: lo")
        for _ in range(20):
            port = rng.choice((server.grpc_port, server.grpc_port, server.port, server.port, server.metrics_port))
            self._connections.open(port, self.COUNT // 20, rng.choice(starts))

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections.close()


class Garbage(Fault):
    name, what = "garbage", "300 connections to the ports of a server with bytes that are no request"

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections = Connections()
        server = cluster.victim(rng)
        for _ in range(100):
            for port in (server.grpc_port, server.port, server.metrics_port):
                self._connections.open(port, 1, garbage(rng))

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections.close()


class HalfOpenTls(Fault):
    name, what = "half-open-tls", "300 connections that stop in the midst of their TLS handshake, while others watch by TLS"
    setup = Setup(tls=True)

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections = Connections()
        server = cluster.victim(rng)
        for _ in range(300):
            hello = client_hello()
            self._connections.open(server.grpc_port, 1, hello[: rng.randrange(len(hello) + 1)])

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections.close()
