"""Dashboards are whole: panels with titles, units and targets, none over another, and expressions that Prometheus reads."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from manifests import ROOT

DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$__range": "3h", "$job": "longtake", "$instance": "a"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_are_whole(path) -> None:
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    assert len({panel["title"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0, panel["title"]
        for target in panel["targets"]:
            names = set(re.findall(r"\$(\w+)", target["expr"]))
            assert names <= variables | {"__rate_interval", "__range"}, target["expr"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus, 96 MB)")
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_expressions_can_be_read(path, tmp_path) -> None:
    rules = []
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            rules.append({"record": f"panel:p{panel['id']}{target['refId']}:x", "expr": expression})
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_become_a_prometheus_rule() -> None:
    printed = subprocess.run([ROOT / "scripts/prometheus-rule.sh", "video"], capture_output=True, text=True, check=True)
    (rule,) = yaml.safe_load_all(printed.stdout)
    assert (rule["kind"], rule["metadata"]["namespace"]) == ("PrometheusRule", "video")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
