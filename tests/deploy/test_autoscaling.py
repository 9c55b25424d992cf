"""The simulation of autoscaling (docs/autoscaling.md) takes the settings that the manifests have."""

import json
import subprocess

import pytest
import yaml
from manifests import KUBERNETES, ROOT
from rendered import settings, the

PROGRAM = ROOT / "build/release/longtake-autoscale"


def load(path: str) -> dict:
    return yaml.safe_load((KUBERNETES / path).read_text())


def autoscalers() -> dict[str, dict]:
    """The settings of each, in one form."""
    hpa = load("components/hpa/autoscaler.yaml")["spec"]
    keda = load("components/keda/scaled-object.yaml")["spec"]
    (metric,), (trigger,) = hpa["metrics"], keda["triggers"]
    return {
        "hpa": {
            "minReplicas": hpa["minReplicas"],
            "maxReplicas": hpa["maxReplicas"],
            "averageValue": float(metric["pods"]["target"]["averageValue"]),
            **hpa["behavior"],
        },
        "keda": {
            "minReplicas": keda["minReplicaCount"],
            "maxReplicas": keda["maxReplicaCount"],
            "averageValue": float(trigger["metadata"]["threshold"]),
            **keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }


@pytest.fixture(scope="module")
def simulated() -> dict:
    if not PROGRAM.is_file():
        pytest.skip("build/release/longtake-autoscale is not built")
    return json.loads(subprocess.run([PROGRAM, "--print-settings"], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("autoscaler", ["hpa", "keda"])
def test_the_autoscaler_is_the_simulated_one(autoscaler, simulated) -> None:
    wanted = autoscalers()[autoscaler]
    assert wanted == {name: simulated[name] for name in wanted}


def test_both_autoscalers_are_the_same() -> None:
    assert autoscalers()["hpa"] == autoscalers()["keda"]


# At twice the target the autoscaler asks for twice the servers, which is as many as it may add in a minute.
def test_the_alert_comes_where_the_autoscaler_cannot_follow() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    (alert,) = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == "LongtakeNeedsServers"]
    metric, limit = alert["expr"].split(" > ")
    assert metric == "job:longtake_live_backlog_seconds:mean"
    assert float(limit) == 2 * autoscalers()["keda"]["averageValue"]


def test_pods_are_the_simulated_ones(simulated, render) -> None:
    overlay = render("autoscaled")
    options = settings(overlay)
    assert options["max-sessions"] == simulated["maxSessions"]
    assert options["shutdown-seconds"] == simulated["shutdownSeconds"]
    assert options["shutdown-grace-seconds"] == simulated["shutdownGraceSeconds"]
    (server,) = the(overlay, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert server["startupProbe"]["periodSeconds"] == simulated["startupProbeSeconds"]
    (endpoint,) = the(overlay, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["interval"] == f"{simulated['scrapeSeconds']:.0f}s"
