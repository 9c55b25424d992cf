"""The chart gives the overlays' manifests, is packed reproducibly, and fails where manifests are no longer what it changes."""

import re
import shlex
import shutil
import subprocess
import tarfile
import textwrap
from pathlib import Path

import pytest
import yaml
from chart import Chart, by_name, kept, leaves, pack
from manifests import OVERLAYS, ROOT
from rendered import of_kind, servers


def test_the_default_is_cpu(chart, render) -> None:
    assert chart.objects({}) == by_name(render("cpu"))


def test_dashboards_and_rules_have_braces(render) -> None:
    """Or the tests here would not see a chart that takes them for templates."""
    (dashboard,) = [
        each for each in of_kind(render("autoscaled"), "ConfigMap") if each["metadata"]["name"] == "longtake-dashboard"
    ]
    assert "{{" in dashboard["data"]["longtake.json"]
    assert "{{" in (ROOT / "deploy/prometheus/rules.yml").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_without_values_it_is_the_overlay_in_the_namespace_of_the_release(overlay, chart, render) -> None:
    documents = kept(render(overlay))
    for each in documents:
        each["metadata"]["namespace"] = "films"
    for scaler in of_kind(documents, "ScaledObject"):
        metadata = scaler["spec"]["triggers"][0]["metadata"]
        assert 'namespace="longtake"' in metadata["query"]
        metadata["query"] = metadata["query"].replace('namespace="longtake"', 'namespace="films"')
    assert chart.objects({"overlay": overlay}, namespace="films") == by_name(documents)


def test_helm_lint_is_clean(chart) -> None:
    done = chart.run("lint", "--strict", chart.path)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_the_same_sources_give_the_same_bytes(chart, tmp_path) -> None:
    again = pack(tmp_path, umask=0o077)
    assert (again.name, again.read_bytes()) == (chart.path.name, chart.path.read_bytes())


def test_it_has_the_version_of_the_project(chart) -> None:
    with tarfile.open(chart.path) as archive:
        shown = yaml.safe_load(archive.extractfile("longtake/Chart.yaml"))
    (line,) = [line for line in (ROOT / "CMakeLists.txt").read_text().splitlines() if line.startswith("project(")]
    version = line.split()[2]
    assert (shown["version"], shown["appVersion"]) == (version, version)
    assert chart.path.name == f"longtake-{version}.tgz"


def test_it_has_nothing_but_its_own_files(chart) -> None:
    with tarfile.open(chart.path) as archive:
        files = {member.name.removeprefix("longtake/") for member in archive if member.isfile()}
    own = {str(path.relative_to(ROOT / "deploy/helm")) for path in (ROOT / "deploy/helm").rglob("*") if path.is_file()}
    assert files == own | {f"overlays/{overlay}.yaml" for overlay in OVERLAYS} | {"rules.yml", "LICENSE"}


def test_the_rules_are_those_of_the_script(chart) -> None:
    rule = chart.objects({"monitoring": {"rules": True}}, namespace="films")["PrometheusRule", "longtake"]
    printed = subprocess.run([ROOT / "scripts/prometheus-rule.sh", "films"], capture_output=True, text=True, check=True).stdout
    assert rule == yaml.safe_load(printed)


def unpack(chart: Chart, folder: Path) -> Chart:
    with tarfile.open(chart.path) as archive:
        archive.extractall(folder)
    return Chart(chart.helm, folder / "longtake")


# What the chart changes is no longer in the overlay: a line of it, another one, values, and what Helm must say.
DRIFT = [
    ("cpu", "name: config\n", "name: settings\n", {}, "no ConfigMap with server.toml"),
    ("cpu", "name: server\n", "name: longtake\n", {}, "the first container is not the server"),
    (
        "cpu",
        "kubernetes.io/metadata.name: monitoring",
        "team: films",
        {"monitoring": {"namespace": "watch"}},
        "no network policy",
    ),
    ("autoscaled", ',namespace="longtake"', "", {}, "query names no namespace"),
    ("autoscaled", "type: prometheus", "type: cpu", {}, "KEDA does not ask Prometheus"),
    ("gpu", "name: verify-model", "name: verify", {"model": {"folder": "/models/b"}}, "nothing verifies the model"),
    ("gpu", "name: model-sums\n", "name: sums\n", {"model": {"sums": "b"}}, "no volume model-sums"),
    ("shared", "name: registry\n", "name: redis\n", {"redis": {"secret": "b"}}, "no volume registry"),
    ("shared-s3", "name: bucket\n", "name: keys\n", {"s3": {"secret": "b"}}, "no volume bucket"),
    ("shared-s3", "name: STORE\n", "name: BUCKET\n", {"s3": {"store": "s3://bucket/videos"}}, "no variable STORE"),
    ("envoy", "name: tls\n", "name: certificate\n", {"envoy": {"secret": "b"}}, "no volume tls"),
    ("envoy", "longtake-1.longtake-pods", "server-1", {"replicas": 8}, "names 7 servers"),
]


@pytest.mark.parametrize(("overlay", "old", "new", "values", "said"), DRIFT, ids=[case[-1] for case in DRIFT])
def test_manifests_that_have_changed_are_refused(overlay, old, new, values, said, chart, tmp_path) -> None:
    changed = unpack(chart, tmp_path)
    file = changed.path / f"overlays/{overlay}.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    done = changed.template({"overlay": overlay, **values})
    assert done.returncode != 0
    assert said in done.stderr


def test_an_overlay_that_is_not_there_is_refused_with_those_that_are(chart) -> None:
    done = chart.template({"overlay": "tpu"})
    assert done.returncode != 0
    assert f"overlay: there is no tpu; there are {', '.join(OVERLAYS)}" in done.stderr


def test_a_chart_needs_kustomize(tmp_path) -> None:
    """And says so, instead of packing less."""
    for name in ("bash", "dirname", "sed", "mktemp", "rm"):
        (tmp_path / name).symlink_to(shutil.which(name))
    if (ROOT / ".venv-deploy/bin/kubectl").exists():
        pytest.skip("the script finds the kubectl of .venv-deploy")
    done = subprocess.run(
        [ROOT / "scripts/helm-chart.sh", tmp_path / "out"], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (1, "error: neither kubectl nor kustomize is installed\n")
    assert not (tmp_path / "out").exists()


def test_servers_restart_when_their_file_changes(chart) -> None:
    """The annotation is there only where server.toml is not the overlay's, and follows its content."""
    seen = []
    for options in ({}, {"max-sessions": 8}, {"max-sessions": 9}):
        documents = list(chart.objects({"options": options}).values())
        seen.append(servers(documents)["spec"]["template"]["metadata"]["annotations"].get("checksum/config"))
    assert seen[0] is None
    assert len(set(seen)) == 3


@pytest.fixture(scope="module")
def noted(chart, tmp_path_factory) -> Chart:
    """A copy of the chart that renders its notes as an object's field, since `helm template` does not print them."""
    copy = unpack(chart, tmp_path_factory.mktemp("notes"))
    shutil.copy(copy.path / "templates/NOTES.txt", copy.path / "notes")
    line = '{kind: Notes, metadata: {name: notes}, text: {{ tpl (.Files.Get "notes") . | toJson }}}\n'
    (copy.path / "templates/notes.yaml").write_text(line)
    return copy


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_notes_have_all_that_pods_wait_for(overlay, noted, render) -> None:
    documents = render(overlay)
    there = {each["metadata"]["name"] for each in of_kind(documents, "ConfigMap") + of_kind(documents, "Secret")}
    needed = set()
    for each in of_kind(documents, "StatefulSet") + of_kind(documents, "Deployment"):
        for volume in each["spec"]["template"]["spec"]["volumes"]:
            needed |= {volume[kind][name] for kind, name in (("secret", "secretName"), ("configMap", "name")) if kind in volume}
    text = noted.objects({"overlay": overlay}, namespace="films")["Notes", "notes"]["text"]
    made = re.findall(r"^    kubectl -n films create (?:secret generic|secret tls|configmap) (\S+) --", text, re.MULTILINE)
    assert sorted(made) == sorted(needed - there)
    kind = servers(documents)["kind"].lower()
    assert f"    kubectl -n films rollout status {kind}/longtake\n" in text


def section() -> str:
    return (ROOT / "docs/kubernetes.md").read_text().partition("\n## Helm\n")[2].partition("\n## ")[0]


def test_the_commands_of_the_page(chart, tmp_path) -> None:
    """Those that need a cluster are rendered instead, or have their names and options looked up."""
    # The schema refuses YOUR_REGISTRY, so that it is not forgotten.
    (values,) = re.findall(r"^    cat > my-values.yaml << EOF\n(.*?)^    EOF$", section(), re.MULTILINE | re.DOTALL)
    (tmp_path / "my-values.yaml").write_text(textwrap.dedent(values).replace("YOUR_REGISTRY", "registry"))
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    (helm .*)$", section(), re.MULTILINE)]
    assert [command[1] for command in commands] == ["install", "upgrade", "history", "rollback", "uninstall"]
    for _, verb, *arguments in commands:
        if verb in ("install", "upgrade"):
            assert f"out/helm/{chart.path.name}" in arguments
            arguments = [str(chart.path) if each == f"out/helm/{chart.path.name}" else each for each in arguments]
            command = [chart.helm, "template", *arguments]
        else:
            command = [chart.helm, verb, "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if verb in ("install", "upgrade"):
            assert server_image(done.stdout) == "registry/longtake:YOUR_TAG"
        else:
            assert all(each in done.stdout for each in arguments if each.startswith("--"))


def server_image(text: str) -> str:
    documents = [each for each in yaml.safe_load_all(text) if each]
    return servers(documents)["spec"]["template"]["spec"]["containers"][0]["image"]


def test_the_page_has_every_value() -> None:
    """`image.repository`, `.tag` is image.repository and image.tag; `redis.image` is all of that image."""
    rows = re.findall(r"^\| (`[a-z].*?`) \|", section(), re.MULTILINE)
    named = set()
    for row in rows:
        first, *others = re.findall(r"`([\w.]+)`", row)
        named |= {first, *(first.rpartition(".")[0] + other for other in others)}
    declared = leaves(yaml.safe_load((ROOT / "deploy/helm/values.yaml").read_text()))
    assert {
        name.replace(".image.repository", ".image") for name in declared if not re.search(r"\.image\.(tag|digest)$", name)
    } == named
