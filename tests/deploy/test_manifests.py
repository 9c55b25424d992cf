"""The rendered overlays keep to policies.py, and the server takes their configuration."""

import re
import subprocess

import pytest
from manifests import KUBERNETES, OVERLAYS, ROOT, SERVER
from policies import faults
from rendered import servers, settings, the


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_keeps_to_the_policies(overlay, render) -> None:
    assert faults(render(overlay)) == []


def pod(documents: list[dict]) -> dict:
    return servers(documents)["spec"]["template"]["spec"]


def server(documents: list[dict]) -> dict:
    return pod(documents)["containers"][0]


def envoy(documents: list[dict]) -> dict:
    return the(documents, "Deployment", "longtake-envoy")["spec"]["template"]["spec"]


def envoy_file(documents: list[dict], name: str, line: str, other: str) -> None:
    (data,) = [d["data"] for d in documents if d["kind"] == "ConfigMap" and name in d["data"]]
    assert line in data[name]
    data[name] = data[name].replace(line, other)


def option(documents: list[dict], line: str, other: str) -> None:
    volume = next(v for v in pod(documents)["volumes"] if v["name"] == "config")
    data = the(documents, "ConfigMap", volume["configMap"]["name"])["data"]
    assert line in data["server.toml"]
    data["server.toml"] = data["server.toml"].replace(line, other)


# Each is put into the overlay and must be found.
MISTAKES = {
    "cpu": {
        "may run as root": lambda d: pod(d)["securityContext"].update(runAsUser=0),
        "no seccomp profile": lambda d: pod(d)["securityContext"].pop("seccompProfile"),
        "gets a token": lambda d: pod(d).pop("automountServiceAccountToken"),
        "in the node's namespaces": lambda d: pod(d).update(hostNetwork=True),
        "sees the node's files": lambda d: pod(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "not spread over nodes and zones": lambda d: pod(d)["topologySpreadConstraints"].pop(),
        "server: may gain privileges": lambda d: server(d)["securityContext"].pop("allowPrivilegeEscalation"),
        "server: root file system is writable": lambda d: server(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "server: has capabilities": lambda d: server(d)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
        "server: has a user of its own": lambda d: server(d)["securityContext"].update(runAsUser=0),
        "server: limits are missing, or not the requests": lambda d: server(d)["resources"]["requests"].update(cpu="1"),
        "server: image longtake:latest": lambda d: server(d).update(image="longtake:latest"),
        "server: has a hook": lambda d: server(d).update(lifecycle={"preStop": {"sleep": {"seconds": 5}}}),
        "server: may write to /etc/longtake": lambda d: server(d)["volumeMounts"][0].pop("readOnly"),
        "other ports than server.toml": lambda d: option(d, ":9090", ":9091"),
        "no startupProbe": lambda d: server(d).pop("startupProbe"),
        "no readinessProbe": lambda d: server(d)["readinessProbe"]["httpGet"].update(path="/livez"),
        "no livenessProbe": lambda d: server(d)["livenessProbe"]["httpGet"].update(path="/readyz"),
        "is killed before it has shut down": lambda d: option(d, "shutdown-seconds = 25", "shutdown-seconds = 26"),
        "keeps more chunks than memory allows": lambda d: option(d, "keep-mib = 352", "keep-mib = 1024"),
        "the store is larger than its volume": lambda d: option(d, "store-mib = 10240", "store-mib = 12288"),
        "the store is not on its volume": lambda d: option(d, '"/var/lib/longtake/store"', '"/tmp/store"'),
        "backend, image and GPUs do not fit": lambda d: option(d, "max-sessions", 'backend = "cuda"\nmax-sessions'),
        "no ConfigMap longtake-config": lambda d: pod(d)["volumes"].append(
            {"name": "x", "configMap": {"name": "longtake-config"}}
        ),
        "no volume models": lambda d: server(d)["volumeMounts"].append(
            {"name": "models", "mountPath": "/models", "readOnly": True}
        ),
        "pods have no names while they shut down": lambda d: the(d, "Service", "longtake-pods")["spec"].pop(
            "publishNotReadyAddresses"
        ),
        "a selector does not select the pods": lambda d: the(d, "PodDisruptionBudget", "longtake")["spec"].update(
            selector={"matchLabels": {"app": "longtake"}}
        ),
        "a service names a port that is not there": lambda d: server(d)["ports"][0].update(name="rpc"),
        "the server may open connections": lambda d: the(d, "NetworkPolicy")["spec"].update(egress=[{}]),
        "the network policy lets in others": lambda d: the(d, "NetworkPolicy")["spec"]["ingress"][0].update({"from": []}),
        "each apply sets the number of pods back, or nobody sets it": lambda d: the(d, "StatefulSet")["spec"].pop("replicas"),
    },
    "envoy": {
        "envoy: may run as root": lambda d: envoy(d)["securityContext"].update(runAsUser=0),
        "envoy: root file system is writable": lambda d: envoy(d)["containers"][0]["securityContext"].update(
            readOnlyRootFilesystem=False
        ),
        "server: has a hook": lambda d: server(d).update(lifecycle={"preStop": {"sleep": {"seconds": 5}}}),
        "envoy: other folders than its files name": lambda d: envoy(d)["containers"][0]["volumeMounts"].pop(),
        "envoy: its key is no secret": lambda d: envoy(d)["volumes"].__setitem__(
            1, {"name": "tls", "configMap": {"name": "tls"}}
        ),
        "envoy: other ports than envoy.yaml": lambda d: envoy_file(d, "envoy.yaml", "port_value: 8444", "port_value: 8445"),
        "envoy: is killed before its streams have ended": lambda d: envoy(d).update(terminationGracePeriodSeconds=300),
        "envoy: its Service does not select the pods": lambda d: the(d, "Service", "longtake-envoy")["spec"].update(
            selector={"app": "envoy"}
        ),
        "envoy: no server is at longtake-0.longtake-pods:8081": lambda d: envoy_file(
            d, "clusters.yaml", "port_value: 8080", "port_value: 8081"
        ),
        "envoy: no pod is called longtak-3.longtake-pods": lambda d: envoy_file(d, "clusters.yaml", "longtake-3.", "longtak-3."),
        "the network policy lets in others": lambda d: the(d, "NetworkPolicy", "longtake")["spec"]["ingress"].pop(),
        "other ports than server.toml": lambda d: server(d)["args"].pop(),
    },
    "gpu": {
        "the model is not verified": lambda d: option(d, "/models/model", "/models/other"),
        "no claim models": lambda d: next(v for v in pod(d)["volumes"] if v["name"] == "models").update(
            persistentVolumeClaim={"claimName": "models"}
        ),
        "backend, image and GPUs do not fit": lambda d: [
            server(d)["resources"][kind].pop("nvidia.com/gpu") for kind in ("limits", "requests")
        ],
    },
    "autoscaled": {
        "is killed before it has shut down": lambda d: pod(d).update(terminationGracePeriodSeconds=30),
        "each apply sets the number of pods back, or nobody sets it": lambda d: the(d, "StatefulSet")["spec"].update(replicas=2),
        "the autoscaler scales something else": lambda d: the(d, "ScaledObject")["spec"]["scaleTargetRef"].update(
            kind="Deployment"
        ),
        "the query asks for another namespace": lambda d: the(d, "ScaledObject")["spec"]["triggers"][0]["metadata"].update(
            query="sum(longtake_backlog_seconds)"
        ),
        "the monitor scrapes nothing, or twice": lambda d: the(d, "ServiceMonitor")["spec"]["selector"]["matchLabels"].pop(
            "app.kubernetes.io/component"
        ),
    },
}


@pytest.mark.parametrize(("overlay", "fault"), [(overlay, fault) for overlay, changes in MISTAKES.items() for fault in changes])
def test_a_mistake_is_found(overlay, fault, render) -> None:
    documents = render(overlay)
    MISTAKES[overlay][fault](documents)
    assert fault in faults(documents)


@pytest.mark.skipif(not SERVER.is_file(), reason="build/release/longtake-server is not built")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_takes_the_configuration(overlay, render, tmp_path) -> None:
    documents = render(overlay)
    volume = next(v for v in pod(documents)["volumes"] if v["name"] == "config")
    file = tmp_path / "server.toml"
    file.write_text(the(documents, "ConfigMap", volume["configMap"]["name"])["data"]["server.toml"])
    # Files of the image and of secrets are not here.
    password, keys = tmp_path / "password", tmp_path / "keys"
    password.write_text("a password")
    keys.write_text("aws_access_key_id = id\naws_secret_access_key = secret\n")
    here = {"/etc/longtake/server.toml": file, "/etc/longtake-redis/password": password, "/etc/longtake-s3/credentials": keys}
    here |= {f"$({each['name']})": each["value"] for each in server(documents).get("env", []) if "value" in each}
    arguments = server(documents)["args"]
    for there, path in here.items():
        arguments = [argument.replace(there, str(path)) for argument in arguments]
    arguments += ["--model", str(ROOT / "models/longtake-tiny")]
    if not settings(documents)["store"].startswith("s3://"):
        arguments += ["--store", str(tmp_path / "store")]
    done = subprocess.run([SERVER, *arguments, "--check-config"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    file.write_text(file.read_text() + "max-session = 4\n")
    assert subprocess.run([SERVER, *arguments, "--check-config"], capture_output=True).returncode != 0


def test_an_autoscaled_server_finishes_videos_first(render) -> None:
    assert settings(render("autoscaled"))["shutdown-seconds"] > settings(render("cpu"))["shutdown-seconds"]


def test_no_file_names_a_registry() -> None:
    """Images are named without a host; an installation says where its own are."""
    for path in KUBERNETES.rglob("*.yaml"):
        names = re.findall(r"^ *(?:image: |- {name: \w+, newName: )([^:,\s]+)", path.read_text(), re.MULTILINE)
        assert set(names) <= {"longtake", "envoy", "redis"}, path
