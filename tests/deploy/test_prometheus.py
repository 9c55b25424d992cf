"""A real Prometheus scrapes a real server while it makes live videos: the rules are evaluated, and every panel has data."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from manifests import ROOT, SERVER

DASHBOARD = ROOT / "deploy/grafana/longtake.json"
# Behind these words a panel shows nothing while all is well.
QUIET = "> 0"
# Windows that outlast the test on a busy machine: behind its window a rate is 0, and a quantile of it no number.
WINDOW = "10m"
# The dashboard's variables.
VARIABLES = {"$__rate_interval": WINDOW, "$__range": WINDOW, '=~"$job"': '="longtake"', '=~"$instance"': '!=""'}


def get(url: str, **arguments: str) -> dict:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(arguments)}", timeout=10) as answer:
        return json.load(answer)


def samples(address: str, expression: str) -> list[dict]:
    """Those that are numbers."""
    try:
        result = get(f"{address}/query", query=expression)["data"]["result"]
    except urllib.error.HTTPError as error:
        if error.code == 503:  # It listens before it is ready.
            return []
        raise
    return [sample for sample in result if sample["value"][1] != "NaN"]


def wait_for(there: Callable[[], object]) -> bool:
    """Whether it was there within 20 s: a scrape and an evaluation come once a second, on a machine that may be busy."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if there():
            return True
        time.sleep(0.2)
    return False


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, serving):
    """Its address, once it has watched a server make two live videos."""
    folder = tmp_path_factory.mktemp("prometheus")
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    # Windows of hours as one of minutes: what is tested is that the expressions give something.
    (folder / "rules.yml").write_text(re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", rules))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "longtake", "static_configs": [{"targets": [f"127.0.0.1:{serving.metrics_port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out)  # fmt: skip
    try:
        address = listening(process, log)
        # Rates need a sample from before.
        wait_for(lambda: samples(address, "count_over_time(longtake_build_info[1m]) >= 2"))
        for prompt in ("a red ball", "a green boat"):
            serving.generate(prompt)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def listening(process: subprocess.Popen, log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        if match := re.search(r'msg="Listening on" address=(\S+)', log.read_text()):
            return f"http://{match[1]}/api/v1"
        time.sleep(0.1)
    raise AssertionError(log.read_text())


needs = pytest.mark.skipif(
    shutil.which("prometheus") is None or not SERVER.is_file(), reason="no prometheus (Debian: prometheus, 96 MB), or no server"
)


@needs
def test_every_rule_is_evaluated(prometheus) -> None:
    (group,) = get(f"{prometheus}/rules")["data"]["groups"]
    assert [rule["name"] for rule in group["rules"] if rule["health"] == "err"] == []
    recorded = [rule["name"] for rule in group["rules"] if rule["type"] == "recording"]
    assert len(recorded) > 5
    assert [name for name in recorded if not wait_for(lambda name=name: samples(prometheus, name))] == []


@needs
def test_every_panel_has_data(prometheus) -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            if expression.endswith(QUIET):
                continue
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            assert wait_for(lambda query=expression: samples(prometheus, query)), f"{panel['title']}: {expression}"
            legends = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(legends <= sample["metric"].keys() for sample in samples(prometheus, expression)), panel["title"]
