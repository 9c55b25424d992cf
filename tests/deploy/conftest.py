"""Manifests as a cluster gets them, and what a running server says of itself at /metrics."""

import copy
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
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
def scraped(tmp_path_factory) -> dict[str, set[Labels]]:
    """Metrics of a running server with the bundled model: name -> the labels of each of its series."""
    if not SERVER.is_file():
        pytest.skip("build/release/longtake-server is not built")
    log = tmp_path_factory.mktemp("server") / "log"
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--shutdown-grace-seconds", "0"]
    with log.open("w") as out:
        server = subprocess.Popen([SERVER, "--model", ROOT / "models/longtake-tiny", *listen], stdout=out, stderr=out)
    try:
        text = read_metrics(server, log)
    finally:
        server.terminate()
        server.wait(30)
    found: dict[str, set[Labels]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels = SAMPLE.fullmatch(line).groups()
        found.setdefault(name, set()).add(tuple(re.findall(r'(\w+)="([^"]*)"', labels or "")))
    return found


def read_metrics(server: subprocess.Popen, log: Path) -> str:
    """What /metrics gives once the model is loaded."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        port = re.search(r"^port=\d+ metrics_port=(\d+)$", log.read_text(), re.MULTILINE)
        if port:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            if "longtake_model_info{" in text:
                return text
        time.sleep(0.05)
    raise AssertionError("the server was not ready after 120 s: " + log.read_text())
