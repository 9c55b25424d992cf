"""What a step of the load works with: ever new clients, connections and ids, and checks of what comes back."""

import contextlib
import http.client
import json
import random
import socket
import uuid
from collections.abc import Callable, Iterator

import grpc
import longtake

from tests.faults.processes import LONGEST
from tests.soak.subject import Subject

# Seconds of videos: as short as they can be for what is done with them, since most of a cycle's time goes into their making.
SHORT = 0.4  # several chunks of one block
ONE_BLOCK = 1.0  # with chunks enough to leave in its midst
TWO_BLOCKS = 1.8


class Unexpected(Exception):
    """A server has answered something else than it should."""


def expect(holds: bool, what: object) -> None:
    if not holds:
        raise Unexpected(str(what))


class Visit:
    """One cycle's. `rng`: the same in each cycle, so that cycles differ in names, ids and addresses alone."""

    def __init__(self, subject: Subject, number: int) -> None:
        self.subject, self.number = subject, number
        self.rng = random.Random(0)
        self._held: list[Callable[[], None]] = []

    @staticmethod
    def new_id() -> str:
        return uuid.uuid4().hex

    def prompt(self, text: str) -> str:
        """One that nobody has asked for before, of always the same length."""
        return f"{text} {self.new_id()[:8]}"

    @contextlib.contextmanager
    def client(self, tenant: str = "acme", token: str | None = None) -> Iterator[longtake.Client]:
        client = longtake.Client(
            f"127.0.0.1:{self.subject.server.grpc_port}",
            ca=self.subject.tls.certificate,
            token=token or self.subject.tokens[tenant],
            timeout=LONGEST,
            reconnect_seconds=0,
        )
        with client:
            yield client

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """For what the client has no method for."""
        authority = grpc.ssl_channel_credentials(self.subject.tls.certificate.read_bytes())
        # Channels of one process share connections, unless told otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(f"127.0.0.1:{self.subject.server.grpc_port}", authority, options) as channel:
            yield channel

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """A call's, with a trace and a request id that are new."""
        return tuple((name.lower(), value) for name, value in self.headers("acme").items())

    def headers(self, tenant: str | None) -> dict[str, str]:
        headers = {"traceparent": f"00-{self.new_id()}-{self.new_id()[:16]}-01", "x-request-id": self.new_id()}
        return headers if tenant is None else headers | {"Authorization": f"Bearer {self.subject.tokens[tenant]}"}

    @contextlib.contextmanager
    def open(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        tenant: str | None = "acme",
        port: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is still to be read. `body`: bytes, or what becomes JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.subject.server.port, timeout=LONGEST)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, data, self.headers(tenant) | (headers or {}))
            yield connection.getresponse()

    def ask(self, path: str, body: object = None, *, status: int = 200, **options: object) -> bytes:
        """A whole answer, which must have this status."""
        with self.open(path, body, **options) as answer:
            data = answer.read()
            expect(answer.status == status, f"{path}: {answer.status} {data[:200]!r}")
            return data

    def ask_json(self, path: str, body: object = None, **options: object) -> dict:
        return json.loads(self.ask(path, body, **options))

    @contextlib.contextmanager
    def refused(self, *reasons: str) -> Iterator[None]:
        """What is called in here must fail for one of these reasons."""
        try:
            yield
        except longtake.Error as error:
            expect(error.reason in reasons, f"{error}, where {reasons} was due")
        else:
            raise Unexpected(f"nothing was refused, where {reasons} was due")

    def hold(self, close: Callable[[], None]) -> None:
        """Calls it when all steps of the cycle are done."""
        self._held.append(close)

    def hold_connection(self, port: int, data: bytes) -> socket.socket:
        """One that says this and reads nothing until the cycle ends."""
        connection = socket.socket()
        self.hold(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(data)
        return connection

    def close(self) -> None:
        for close in self._held:
            close()
