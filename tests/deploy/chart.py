"""The Helm chart as scripts/helm-chart.sh packs it, and what Helm makes of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from manifests import ROOT

Key = tuple[str, str]
KEEP = {"helm.sh/resource-policy": "keep"}


def helm() -> str | None:
    """An installed one, or the one of this interpreter's environment."""
    return shutil.which("helm") or shutil.which("helm", path=Path(sys.executable).parent)


def pack(folder: Path, umask: int = -1) -> Path:
    command = [ROOT / "scripts/helm-chart.sh", folder]
    done = subprocess.run(command, capture_output=True, text=True, umask=umask)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


class Chart:
    def __init__(self, helm: str, path: Path) -> None:
        self.helm, self.path = helm, path

    def run(self, *arguments: str | Path, values: dict | None = None) -> subprocess.CompletedProcess:
        """`values` are Helm's standard input, where `--values -` reads them."""
        return subprocess.run([self.helm, *arguments], input=yaml.safe_dump(values or {}), capture_output=True, text=True)

    def template(self, values: dict, namespace: str = "longtake") -> subprocess.CompletedProcess:
        return self.run("template", "longtake", self.path, "--namespace", namespace, "--values", "-", values=values)

    def objects(self, values: dict, namespace: str = "longtake") -> dict[Key, dict]:
        done = self.template(values, namespace)
        assert done.returncode == 0, done.stderr
        return by_name(each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each)


def by_name(documents) -> dict[Key, dict]:
    listed = [((each["kind"], each["metadata"]["name"]), each) for each in documents]
    found = dict(listed)
    assert len(found) == len(listed)
    return found


def kept(documents: list[dict]) -> list[dict]:
    """What the chart adds to the manifests: volumes of all servers outlive the release."""
    for each in documents:
        if each["kind"] == "PersistentVolumeClaim":
            each["metadata"]["annotations"] = dict(KEEP)
    return documents


def leaves(tree: dict, path: str = "") -> set[str]:
    """Names of a tree of values, as `--set` writes them."""
    found = set()
    for name, value in tree.items():
        found |= leaves(value, f"{path}{name}.") if isinstance(value, dict) and value else {path + name}
    return found
