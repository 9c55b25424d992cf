"""Manifests as a cluster gets them, and what a running server says of itself at /metrics."""

import copy
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from chart import Chart, helm, pack
from manifests import KUBERNETES, ROOT, SERVER, kustomize

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")

Labels = tuple[tuple[str, str], ...]


@pytest.fixture(scope="session")
def render():
    """Name of an overlay -> its documents."""
    command = kustomize()
    if command is None:
        pytest.skip("neither kubectl nor kustomize is installed")
    known: dict[str, list[dict]] = {}

    def documents(overlay: str) -> list[dict]:
        if overlay not in known:
            done = subprocess.run([*command, str(KUBERNETES / "overlays" / overlay)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            known[overlay] = [document for document in yaml.safe_load_all(done.stdout) if document]
        return copy.deepcopy(known[overlay])  # tests may change it

    return documents


@pytest.fixture(scope="session")
def chart(tmp_path_factory) -> Chart:
    """The Helm chart, packed."""
    program = helm()
    if kustomize() is None or program is None:
        pytest.skip("kubectl and kustomize, or helm, are not installed")
    return Chart(program, pack(tmp_path_factory.mktemp("helm")))


class Serving:
    """A running server with the bundled model."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self._process, self._log = process, log
        line = self._wait(lambda: re.search(r"^port=(\d+) metrics_port=(\d+)", log.read_text(), re.MULTILINE))
        self.port, self.metrics_port = int(line[1]), int(line[2])
        self._wait(lambda: "longtake_model_info{" in self.metrics())

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def generate(self, prompt: str) -> None:
        """A live video of three seconds, read to its end."""
        client = [SERVER.with_name("longtake"), "generate", prompt, "--seconds", "3", "--output", "/dev/null"]
        done = subprocess.run([*client, "--server", f"127.0.0.1:{self.port}"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def _wait(self, there):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()
            if found := there():
                return found
            time.sleep(0.05)
        raise AssertionError("the server was not ready after 120 s: " + self._log.read_text())


@pytest.fixture(scope="session")
def serving(tmp_path_factory):
    if not SERVER.is_file():
        pytest.skip("build/release/longtake-server is not built")
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    # A policy that is asked, so that its panel has data, and allows everything.
    (folder / "policy.json").write_text('{"rules": []}')
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--shutdown-grace-seconds", "0"]
    listen += ["--policy-rules", str(folder / "policy.json")]
    with log.open("w") as out:
        process = subprocess.Popen([SERVER, "--model", ROOT / "models/longtake-tiny", *listen], stdout=out, stderr=out)
    try:
        yield Serving(process, log)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def scraped(serving) -> dict[str, set[Labels]]:
    """Metrics of a running server: name -> the labels of each of its series."""
    found: dict[str, set[Labels]] = {}
    for line in serving.metrics().splitlines():
        if line.startswith("#"):
            continue
        name, labels = SAMPLE.fullmatch(line).groups()
        found.setdefault(name, set()).add(tuple(re.findall(r'(\w+)="([^"]*)"', labels or "")))
    return found
