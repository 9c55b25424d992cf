"""Steps of a cycle: clients that are none of ours, and files that change meanwhile."""

import contextlib

from tests.faults.connections import Connections, client_hello, garbage
from tests.soak.visit import Visit

CONNECTIONS = 30  # of each kind


def send_garbage(visit: Visit) -> None:
    server, connections = visit.subject.server, Connections()
    visit.hold(connections.close)
    for _ in range(CONNECTIONS):
        for port in (server.grpc_port, server.port, server.metrics_port):
            connections.open(port, 1, garbage(visit.rng))


def stop_half_way(visit: Visit) -> None:
    """Handshakes and requests that do not go on until the cycle ends."""
    server, connections = visit.subject.server, Connections()
    visit.hold(connections.close)
    hello = client_hello()
    for _ in range(CONNECTIONS):
        connections.open(server.grpc_port, 1, hello[: visit.rng.randrange(len(hello))])
        connections.open(server.port, 1, b"GET /v1/videos HTTP/1.1\r\nHost: lo")
        connections.open(server.metrics_port, 1, b"")


def read_nothing(visit: Visit) -> None:
    """A viewer that is sent what its connection takes, and is then given up."""
    body = {"prompt": visit.prompt("a red ball bounces"), "seed": 20, "seconds": 1, "request_id": visit.new_id()}
    video = visit.ask_json("/v1/videos", body)["id"]
    token = visit.subject.tokens["acme"]
    request = f"GET /v1/videos/{video}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    visit.hold_connection(visit.subject.server.port, request.encode())


def break_off(visit: Visit) -> None:
    """Many that ask and go before they have an answer."""
    connections = Connections()
    with contextlib.closing(connections):
        for _ in range(CONNECTIONS):
            request = f"GET /v1/videos/{visit.new_id()} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connections.open(visit.subject.server.port, 1, request.encode())


def replace_files(visit: Visit) -> None:
    visit.subject.replace_files()


STEPS = (send_garbage, stop_half_way, read_nothing, break_off, replace_files)
