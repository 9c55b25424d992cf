"""Overlays whose servers share a store: mistakes that must be found, and the commands of the pod of Redis."""

import subprocess
from pathlib import Path

import pytest
from own_redis import Redis, missing
from policies import faults
from rendered import of_kind, servers, the

REDIS = "longtake-redis"


def server(documents: list[dict]) -> dict:
    return servers(documents)["spec"]["template"]["spec"]["containers"][0]


def redis(documents: list[dict]) -> dict:
    return the(documents, "StatefulSet", REDIS)["spec"]["template"]["spec"]


def policy(documents: list[dict], name: str) -> dict:
    return the(documents, "NetworkPolicy", name)["spec"]


def argument(documents: list[dict], option: str, value: str) -> None:
    arguments = server(documents)["args"]
    (at,) = [i for i, each in enumerate(arguments) if each.startswith(f"--{option}=")]
    arguments[at] = f"--{option}={value}"


def line(documents: list[dict], old: str, new: str) -> None:
    (data,) = [d["data"] for d in of_kind(documents, "ConfigMap") if "redis.conf" in d["data"]]
    assert old in data["redis.conf"]
    data["redis.conf"] = data["redis.conf"].replace(old, new)


def as_a_stateful_set(documents: list[dict]) -> None:
    servers(documents)["kind"] = "StatefulSet"


# Each is put into the overlay and must be found.
MISTAKES = {
    "shared": {
        "shares its store, or not, with other options than it has": as_a_stateful_set,
        "the volume is not for as many pods as use it": lambda d: the(d, "PersistentVolumeClaim")["spec"].update(
            accessModes=["ReadWriteOnce"]
        ),
        "the store is larger than its volume": lambda d: the(d, "PersistentVolumeClaim")["spec"]["resources"]["requests"].update(
            storage="10Gi"
        ),
        "no claim store": lambda d: next(
            v for v in servers(d)["spec"]["template"]["spec"]["volumes"] if v["name"] == "store"
        ).update(persistentVolumeClaim={"claimName": "store"}),
        "no Secret redis": lambda d: servers(d)["spec"]["template"]["spec"]["volumes"].append(
            {"name": "x", "secret": {"secretName": "redis"}}
        ),
        "a rollout takes a server away before there is another": lambda d: servers(d)["spec"].pop("strategy"),
        "does not know its address": lambda d: server(d)["env"][0].update(valueFrom={"fieldRef": {"fieldPath": "status.hostIP"}}),
        "others do not reach its gRPC port": lambda d: argument(d, "advertise", "$(POD_IP):9090"),
        "others do not reach its HTTP port": lambda d: argument(d, "advertise-http", "$(POD_IP):50051"),
        "no registry is at redis://redis:6379": lambda d: server(d)["env"][1].update(value="redis://redis:6379"),
        "no registry is at rediss://redis": lambda d: server(d)["env"][1].update(value="rediss://redis"),
        "has no password of the registry": lambda d: argument(d, "registry-password-file", "/etc/longtake/password"),
        "servers reach others than each other and Redis": lambda d: policy(d, "longtake-to-redis")["egress"][0].pop("to"),
        "the server may open connections": lambda d: policy(d, "longtake").update(egress=[{}]),
        "the autoscaler scales something else": lambda d: the(d, "ScaledObject")["spec"]["scaleTargetRef"].update(
            kind="StatefulSet"
        ),
        "redis: may run as root": lambda d: redis(d)["securityContext"].update(runAsNonRoot=False),
        "redis: root file system is writable": lambda d: redis(d)["containers"][0]["securityContext"].pop(
            "readOnlyRootFilesystem"
        ),
        "redis: limits are missing, or not the requests": lambda d: redis(d)["containers"][0]["resources"]["requests"].update(
            cpu="1"
        ),
        "redis: there are two, which know different things": lambda d: the(d, "StatefulSet")["spec"].update(replicas=2),
        "redis: forgets what it has answered": lambda d: line(d, "appendonly yes", "appendonly no"),
        "redis: its data are on no volume": lambda d: line(d, "dir /data", "dir /tmp"),
        "redis: evicts names, or uses more memory than it has": lambda d: line(d, "noeviction", "allkeys-lru"),
        "redis: has another password than the servers": lambda d: next(
            v for v in redis(d)["volumes"] if v["name"] == "password"
        ).update(secret={"secretName": "redis"}),
        "redis: nothing asks whether it works": lambda d: redis(d)["containers"][0].pop("livenessProbe"),
        "redis: its Service does not reach it": lambda d: line(d, "port 6379", "port 6380"),
        "redis: it may open connections": lambda d: policy(d, REDIS).update(egress=[{}]),
        "redis: others than the servers reach it": lambda d: policy(d, REDIS)["ingress"][0].pop("from"),
    },
    "shared-envoy": {
        "envoy: no pod is called longtake-0.longtake-pods": lambda d: next(
            c["data"] for c in of_kind(d, "ConfigMap") if "clusters.yaml" in c["data"]
        ).update({"clusters.yaml": (Path(__file__).parents[2] / "deploy/envoy/clusters.yaml").read_text()}),
        "servers reach others than each other and Redis": lambda d: policy(d, "longtake-peers")["ingress"][0]["ports"].pop(),
        "others do not reach its HTTP port": lambda d: argument(d, "advertise-http", "$(POD_IP):8081"),
    },
    "shared-s3": {
        "no bucket is at s3://My_Bucket": lambda d: server(d)["env"][2].update(value="s3://My_Bucket"),
        "has a volume beside its bucket": lambda d: server(d)["volumeMounts"].append({"name": "config", "mountPath": "/data"}),
        "has no keys of the bucket": lambda d: argument(d, "store-credentials-file", "/etc/longtake-s3/keys"),
        "servers reach others than each other and Redis": lambda d: policy(d, "longtake-to-s3").update(egress=[{}]),
        "no Secret bucket": lambda d: next(
            v for v in servers(d)["spec"]["template"]["spec"]["volumes"] if v["name"] == "bucket"
        ).update(secret={"secretName": "bucket"}),
    },
    "cpu": {
        "shares its store, or not, with other options than it has": lambda d: server(d)["args"].append(
            "--registry=redis://a:6379"
        ),
    },
}


@pytest.mark.parametrize(("overlay", "fault"), [(overlay, fault) for overlay, changes in MISTAKES.items() for fault in changes])
def test_a_mistake_is_found(overlay, fault, render) -> None:
    documents = render(overlay)
    MISTAKES[overlay][fault](documents)
    assert fault in faults(documents)


@pytest.mark.skipif(missing(), reason="redis-tools is not installed")
def test_the_pod_of_redis(render, tmp_path) -> None:
    """Its own command, and what its probes ask."""
    documents = render("shared")
    (container,) = redis(documents)["containers"]

    def probe(name: str) -> bool:
        command = [served.here(word) for word in container[name]["exec"]["command"]]
        return subprocess.run(command, capture_output=True).returncode == 0

    with Redis(tmp_path, documents) as served:
        assert probe("startupProbe") and probe("readinessProbe") and probe("livenessProbe")
        assert "NOAUTH" in served.ask("PING", password="")
        served.ask("SET", "longtake:token", "7")
        (tmp_path / "etc/longtake-redis/password").write_text("another")
        assert not probe("startupProbe")
        assert probe("readinessProbe") and probe("livenessProbe")
        (tmp_path / "etc/longtake-redis/password").write_text(served.password)
        # What was answered is there again, however it ended.
        served.kill()
        assert not probe("startupProbe") and not probe("readinessProbe") and not probe("livenessProbe")
        served.start()
        assert served.ask("GET", "longtake:token") == "7"
        # No list of processes has the password.
        assert served.password not in Path(f"/proc/{served.process.pid}/cmdline").read_text()
