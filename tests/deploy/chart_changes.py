"""What each value of the chart changes in an overlay, for test_helm_values.py."""

import hashlib

import yaml
from manifests import ROOT
from rendered import of_kind, servers, the

DIGEST = "sha256:" + "0123456789abcdef" * 4


def pod(documents: list[dict], name: str = "longtake") -> dict:
    (found,) = [d for d in documents if d["kind"] in ("StatefulSet", "Deployment") and d["metadata"]["name"] == name]
    return found["spec"]["template"]["spec"]


def server(documents: list[dict]) -> dict:
    return pod(documents)["containers"][0]


def volume(documents: list[dict], workload: str, name: str) -> dict:
    (found,) = [each for each in pod(documents, workload)["volumes"] if each["name"] == name]
    return found


def variable(documents: list[dict], name: str) -> dict:
    (found,) = [each for each in server(documents)["env"] if each["name"] == name]
    return found


def container(documents: list[dict], workload: str) -> dict:
    (found,) = pod(documents, workload)["containers"]
    return found


def claim(documents: list[dict], name: str) -> dict:
    return the(documents, "PersistentVolumeClaim", name)["spec"]


def template(documents: list[dict], workload: str = "longtake") -> dict:
    """Of the one volume that each pod of a StatefulSet has."""
    (found,) = the(documents, "StatefulSet", workload)["spec"]["volumeClaimTemplates"]
    return found["spec"]


def file(documents: list[dict], remove: str, add: str) -> None:
    """server.toml without the lines that begin with `remove`, and with `add` at its end."""
    name = volume(documents, "longtake", "config")["configMap"]["name"]
    data = the(documents, "ConfigMap", name)["data"]
    lines = [line for line in data["server.toml"].splitlines(keepends=True) if not (remove and line.startswith(remove))]
    data["server.toml"] = "".join(lines) + add
    annotations = servers(documents)["spec"]["template"]["metadata"]["annotations"]
    annotations["checksum/config"] = hashlib.sha256(data["server.toml"].encode()).hexdigest()


def resources(documents: list[dict], **quantities: str) -> None:
    for kind in ("requests", "limits"):
        server(documents)["resources"][kind].update(quantities)


def size(spec: dict, quantity: str) -> None:
    spec["resources"]["requests"]["storage"] = quantity


def scaler(documents: list[dict]) -> dict:
    (found,) = of_kind(documents, "ScaledObject") + of_kind(documents, "HorizontalPodAutoscaler")
    return found["spec"]


def to_s3(documents: list[dict], endpoint: str, port: int) -> None:
    server(documents)["args"].append(f"--store-endpoint={endpoint}")
    the(documents, "NetworkPolicy", "longtake-to-s3")["spec"]["egress"][0]["ports"][0]["port"] = port


def prometheus_in(documents: list[dict], namespace: str) -> None:
    for policy in of_kind(documents, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            for peer in rule.get("from", []):
                if "namespaceSelector" in peer:
                    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
                    peer["namespaceSelector"]["matchLabels"] = {"kubernetes.io/metadata.name": namespace}


def everywhere(documents: list[dict], secrets: list[dict]) -> None:
    for each in of_kind(documents, "StatefulSet") + of_kind(documents, "Deployment"):
        each["spec"]["template"]["spec"]["imagePullSecrets"] = secrets


def rules(documents: list[dict], **labels: str) -> None:
    metadata = {"name": "longtake", "namespace": "longtake", "labels": {"app.kubernetes.io/name": "longtake", **labels}}
    spec = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    api = "monitoring.coreos.com/v1"
    documents.append({"apiVersion": api, "kind": "PrometheusRule", "metadata": metadata, "spec": spec})


def model(documents: list[dict], folder: str) -> None:
    file(documents, "model =", f'model = "{folder}"\n')
    pod(documents)["initContainers"][0]["args"][0] = folder


def redis_secret(documents: list[dict], name: str) -> None:
    for workload, where in (("longtake", "registry"), ("longtake-redis", "password")):
        volume(documents, workload, where)["secret"].update(secretName=name)


# Overlay, values, and what is then different from the overlay. Several values at once, since each case runs Helm.
CHANGES = [
    (
        "cpu",
        {"image": {"repository": "films/longtake"}, "replicas": 5, "resources": {"cpu": 4}, "storage": {"storageClass": "fast"}},
        lambda d: [
            server(d).update(image="films/longtake:cpu"),
            servers(d)["spec"].update(replicas=5),
            resources(d, cpu="4"),
            template(d).update(storageClassName="fast"),
        ],
    ),
    (
        "cpu",
        {
            "image": {"repository": "host:5000/longtake", "tag": "1"},
            "options": {
                "devices": [0, 1],
                "http-page": False,
                "isa": "avx2",
                "max-live-load": 0.5,
                "max-sessions": 8,
            },
        },
        lambda d: [
            server(d).update(image="host:5000/longtake:1"),
            file(
                d,
                "max-sessions",
                'devices = [0,1]\nhttp-page = false\nisa = "avx2"\nmax-live-load = 0.5\nmax-sessions = 8\n',
            ),
        ],
    ),
    (
        "cpu",
        {"image": {"tag": "b", "digest": DIGEST}, "options": {"shutdown-seconds": 60}},
        lambda d: [
            server(d).update(image=f"longtake@{DIGEST}"),
            file(d, "shutdown-seconds", "shutdown-seconds = 60\n"),
            pod(d).update(terminationGracePeriodSeconds=65),
        ],
    ),
    (
        "cpu",
        {"options": {"store-mib": 2000}, "storage": {"size": "2Gi"}, "monitoring": {"rules": True, "labels": {"release": "a"}}},
        lambda d: [file(d, "store-mib", "store-mib = 2000\n"), size(template(d), "2Gi"), rules(d, release="a")],
    ),
    (
        "gpu",
        {
            "image": {"tag": "b"},
            "resources": {"cpu": "7500m", "memory": "24Gi"},
            "model": {"folder": "/models/b", "sums": "sums-b", "size": "80Gi", "storageClass": "nfs"},
        },
        lambda d: [
            *(each.update(image="longtake:b") for each in (server(d), pod(d)["initContainers"][0])),
            resources(d, cpu="7500m", memory="24Gi"),
            model(d, "/models/b"),
            volume(d, "longtake", "model-sums")["configMap"].update(name="sums-b"),
            size(claim(d, "longtake-models"), "80Gi"),
            claim(d, "longtake-models").update(storageClassName="nfs"),
        ],
    ),
    (
        "autoscaled",
        {
            "autoscaling": {"minReplicas": 3, "prometheus": "http://prometheus.watch:9090"},
            "monitoring": {"labels": {"release": "a"}},
        },
        lambda d: [
            scaler(d).update(minReplicaCount=3),
            scaler(d)["triggers"][0]["metadata"].update(serverAddress="http://prometheus.watch:9090"),
            the(d, "ServiceMonitor")["metadata"].setdefault("labels", {}).update(release="a"),
        ],
    ),
    ("autoscaled", {"autoscaling": {"maxReplicas": 20}}, lambda d: scaler(d).update(maxReplicaCount=20)),
    (
        "autoscaled-hpa",
        {"autoscaling": {"minReplicas": 9, "maxReplicas": 9}},
        lambda d: scaler(d).update(minReplicas=9, maxReplicas=9),
    ),
    (
        "shared",
        {
            "nodeSelector": {"node": "big"},
            "storage": {"size": "1Ti", "storageClass": "nfs"},
            "redis": {
                "image": {"repository": "films/redis", "tag": "8.0"},
                "secret": "word",
                "size": "2Gi",
                "storageClass": "fast",
            },
        },
        lambda d: [
            pod(d).update(nodeSelector={"node": "big"}),
            size(claim(d, "longtake-store"), "1Ti"),
            claim(d, "longtake-store").update(storageClassName="nfs"),
            container(d, "longtake-redis").update(image="films/redis:8.0"),
            redis_secret(d, "word"),
            size(template(d, "longtake-redis"), "2Gi"),
            template(d, "longtake-redis").update(storageClassName="fast"),
        ],
    ),
    (
        "shared-s3",
        {"s3": {"store": "s3://films/a/b", "region": "eu-west-1", "secret": "keys"}, "redis": {"image": {"digest": DIGEST}}},
        lambda d: [
            variable(d, "STORE").update(value="s3://films/a/b"),
            variable(d, "REGION").update(value="eu-west-1"),
            volume(d, "longtake", "bucket")["secret"].update(secretName="keys"),
            container(d, "longtake-redis").update(image=f"redis@{DIGEST}"),
        ],
    ),
    ("shared-s3", {"s3": {"endpoint": "https://minio:9000"}}, lambda d: to_s3(d, "https://minio:9000", 9000)),
    ("shared-s3", {"s3": {"endpoint": "http://minio"}}, lambda d: to_s3(d, "http://minio", 80)),
    ("shared-s3", {"s3": {"endpoint": "https://s3.films"}}, lambda d: to_s3(d, "https://s3.films", 443)),
    (
        "envoy",
        {
            "replicas": 8,
            "envoy": {"image": {"repository": "films/envoy", "tag": "v1.41.0"}, "replicas": 3, "api": "api-b"},
        },
        lambda d: [
            servers(d)["spec"].update(replicas=8),
            container(d, "longtake-envoy").update(image="films/envoy:v1.41.0"),
            the(d, "Deployment", "longtake-envoy")["spec"].update(replicas=3),
            volume(d, "longtake-envoy", "api")["configMap"].update(name="api-b"),
        ],
    ),
    (
        "shared-envoy",
        {
            "imagePullSecrets": [{"name": "key"}],
            "envoy": {"image": {"digest": DIGEST}, "secret": "tls-b"},
            "monitoring": {"namespace": "watch"},
        },
        lambda d: [
            everywhere(d, [{"name": "key"}]),
            container(d, "longtake-envoy").update(image=f"envoy@{DIGEST}"),
            volume(d, "longtake-envoy", "tls")["secret"].update(secretName="tls-b"),
            prometheus_in(d, "watch"),
        ],
    ),
]
