"""Each value of the chart changes what it says and nothing else, and a wrong one is refused by its name."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml
from chart import by_name, kept, leaves
from chart_changes import CHANGES, volume
from manifests import OVERLAYS, ROOT, SERVER
from rendered import the

VALUES = ROOT / "deploy/helm/values.yaml"


@pytest.mark.parametrize(
    ("overlay", "values", "change"), CHANGES, ids=lambda each: ",".join(sorted(leaves(each))) if isinstance(each, dict) else None
)
def test_a_value_changes_what_it_says_and_nothing_else(overlay, values, change, chart, render) -> None:
    documents = kept(render(overlay))
    before = by_name(kept(render(overlay)))
    change(documents)
    assert by_name(documents) != before
    assert chart.objects({"overlay": overlay, **values}) == by_name(documents)


def test_all_values_are_tried() -> None:
    tried = set().union(*(leaves(values) for _, values, _ in CHANGES))
    declared = leaves(yaml.safe_load(VALUES.read_text())) - {"overlay"}
    # Their members are the installation's own.
    own = ("nodeSelector.", "options.", "monitoring.labels.")
    assert {name if not name.startswith(own) else name.rpartition(".")[0] for name in tried} == declared


# Against values.schema.json, so that Helm names all of them at once.
MALFORMED = [
    ({"replicas": 0}, "replicas"),
    ({"replicas": "3"}, "replicas"),
    ({"image": {"tag": 1.2}}, "image.tag"),
    ({"image": {"repository": "films/longtake@sha256:0"}}, "image.repository"),
    ({"image": {"digest": "latest"}}, "image.digest"),
    ({"imagePullSecrets": ["key"]}, "imagePullSecrets.0"),
    ({"resources": {"cpu": "two"}}, "resources.cpu"),
    ({"resources": {"memory": "1G"}}, "resources.memory"),
    ({"nodeSelector": {"big": True}}, "nodeSelector.big"),
    ({"storage": {"size": 12}}, "storage.size"),
    ({"options": {"isa": 'avx2"\nstore = "/tmp'}}, "options.isa"),
    ({"options": {"max-sessions": None}}, "options.max-sessions"),
    ({"options": {"quotas": {"a": 1}}}, "options.quotas"),
    ({"options": {"shutdown-seconds": "a minute"}}, "options.shutdown-seconds"),
    ({"autoscaling": {"prometheus": "prometheus:9090"}}, "autoscaling.prometheus"),
    ({"model": {"folder": "/srv/b"}}, "model.folder"),
    ({"s3": {"store": "films"}}, "s3.store"),
    ({"s3": {"endpoint": "https://minio/films"}}, "s3.endpoint"),
    ({"redis": {"secret": "a b"}}, "redis.secret"),
    ({"envoy": {"replicas": -1}}, "envoy.replicas"),
    ({"monitoring": {"rules": "yes"}}, "monitoring.rules"),
]
# Overlay, values, and what Helm must say.
WRONG = [
    ("cpu", {"replica": 3}, "replica"),
    ("cpu", {"options": {"Max-Sessions": 8}}, "Max-Sessions"),
    ("cpu", {"storage": {"size": "10Gi"}}, "storage.size: 10Gi is not more than the store's 10240 MiB (options.store-mib)"),
    ("shared-s3", {"storage": {"size": "10Gi"}}, "storage.size: the overlay shared-s3 has its store in a bucket"),
    ("cpu", {"options": {"listen": "0.0.0.0:1"}}, "options.listen: is not for the file"),
    (
        "autoscaled",
        {"options": {"shutdown-seconds": 60}},
        "options.shutdown-seconds: the overlay autoscaled has it on the command",
    ),
    ("cpu", {"autoscaling": {"maxReplicas": 4}}, "autoscaling.maxReplicas: the overlay cpu has no autoscaler"),
    ("autoscaled", {"replicas": 3}, "replicas: the overlay autoscaled has an autoscaler"),
    ("autoscaled", {"autoscaling": {"minReplicas": 9}}, "autoscaling.minReplicas: is more than 8"),
    (
        "autoscaled-hpa",
        {"autoscaling": {"prometheus": "http://b"}},
        "autoscaling.prometheus: the overlay autoscaled-hpa has no KEDA",
    ),
    ("cpu", {"model": {"folder": "/models/b"}}, "model.folder: the overlay cpu has the model of its image"),
    ("shared", {"s3": {"store": "s3://films/a"}}, "s3.store: the overlay shared has its store on a volume"),
    ("cpu", {"redis": {"image": {"tag": "8"}}}, "redis.image.tag: the overlay cpu has no Redis"),
    ("shared", {"envoy": {"replicas": 3}}, "envoy.replicas: the overlay shared has no Envoy"),
    ("envoy", {"replicas": 9}, "replicas: Envoy's clusters.yaml names 8 servers"),
    ("cpu", {"monitoring": {"labels": {"release": "a"}}}, "monitoring.labels.release: the overlay cpu has no ServiceMonitor"),
]


def named(stderr: str, value: str) -> bool:
    """In a message about the schema: a line that begins with the value's path, which Helm 4 writes with slashes."""
    return bool(re.search(rf"^- (at '/{value.replace('.', '/')}'|{re.escape(value)}):", stderr, re.MULTILINE))


def test_malformed_values_are_refused_by_their_names(chart) -> None:
    """In as few runs of Helm as have no value twice."""
    left = list(MALFORMED)
    while left:
        values, names, later = {}, [], []
        for each, name in left:
            if each.keys() & values.keys():
                later.append((each, name))
            else:
                values |= each
                names.append(name)
        done = chart.template(values)
        assert done.returncode != 0
        assert [name for name in names if not named(done.stderr, name)] == [], done.stderr
        left = later


@pytest.mark.parametrize(("overlay", "values", "said"), WRONG, ids=[case[-1][:40] for case in WRONG])
def test_a_wrong_value_is_refused_by_its_name(overlay, values, said, chart) -> None:
    done = chart.template({"overlay": overlay, **values})
    assert done.returncode != 0
    assert said in done.stderr


def test_what_the_comments_say_of_the_overlays_is_there(render) -> None:
    """Sizes, images and names."""
    comments = "".join(line.partition("#")[2] for line in VALUES.read_text().splitlines(keepends=True))
    named = set(
        re.findall(
            r"\b\d+[MGT]i\b|\blongtake-[a-z0-9-]+\b|\b(?:longtake|redis|envoy):[\w.]+|/models/\w+|http://[\w.:-]+\d", comments
        )
    )
    assert {"12Gi", "longtake-s3", "envoy:v1.40.0", "/models/model"} <= named
    rendered = "".join(json.dumps(render(overlay)) for overlay in OVERLAYS)
    assert {name for name in named if name not in rendered} == set()


def options() -> list[tuple[str, dict]]:
    return [(overlay, values) for overlay, values, _ in CHANGES if "options" in values or "folder" in values.get("model", {})]


@pytest.mark.skipif(not SERVER.is_file(), reason="build/release/longtake-server is not built")
@pytest.mark.parametrize(("overlay", "values"), options(), ids=str)
def test_the_server_takes_the_options(overlay, values, chart, tmp_path) -> None:
    documents = list(chart.objects({"overlay": overlay, **values}).values())
    name = volume(documents, "longtake", "config")["configMap"]["name"]
    text = the(documents, "ConfigMap", name)["data"]["server.toml"]
    given = values.get("options", {}) | ({"model": values["model"]["folder"]} if "model" in values else {})
    assert given.items() <= tomllib.loads(text).items()
    toml = tmp_path / "server.toml"
    toml.write_text(text)
    arguments = ["--model", ROOT / "models/longtake-tiny", "--store", tmp_path / "store", "--backend", "cpu"]
    done = subprocess.run([SERVER, "--config", toml, *arguments, "--check-config"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
