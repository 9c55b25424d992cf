"""Dashboards, rules and autoscalers name only metrics, labels and values that a running server serves."""

import json
import re
from pathlib import Path

import pytest
import yaml
from manifests import KUBERNETES, ROOT

DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
RULES = ROOT / "deploy/prometheus/rules.yml"
# Labels that Prometheus gives a series from where it was scraped, and that of a histogram's buckets.
TARGET = {"job", "instance", "namespace", "pod"}
# A metric, not a recorded one, and its selector.
METRIC = re.compile(r"(?<![:\w])(longtake_\w+)(?![:\w])(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\w+:longtake_\w+:\w+")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def of_dashboard(path: Path) -> list[str]:
    dashboard = json.loads(path.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for variable in dashboard["templating"]["list"]:
        if query := re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", "")):
            found.append(f"sum by ({query[2]}) ({query[1]})")
    return found


def of_rules() -> list[str]:
    return [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def of_autoscalers() -> list[str]:
    (scaler,) = yaml.safe_load_all((KUBERNETES / "components/hpa/autoscaler.yaml").read_text())
    (scaled,) = yaml.safe_load_all((KUBERNETES / "components/keda/scaled-object.yaml").read_text())
    adapter = yaml.safe_load((KUBERNETES / "components/hpa/adapter-rules.yaml").read_text())
    found = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    found += [rule["seriesQuery"] for rule in adapter]
    served = {rule["name"]["as"] for rule in adapter}
    for metric in scaler["spec"]["metrics"]:
        pods = metric["pods"]["metric"]
        assert pods["name"] in served
        matchers = ",".join(f'{name}="{value}"' for name, value in pods["selector"]["matchLabels"].items())
        found.append(f"{pods['name']}{{{matchers}}}")
    return found


def faults(expression: str, scraped: dict) -> list[str]:
    """What the expression names and no series has."""
    found = []
    labels = set(TARGET)
    for name, selector in METRIC.findall(expression):
        if name not in scraped:
            found.append(name)
            continue
        series = [dict(pairs) for pairs in scraped[name]]
        labels |= {label for pairs in series for label in pairs}
        for label, operator, value in MATCHER.findall(selector):
            if label in TARGET:
                continue
            values = {pairs.get(label) for pairs in series}
            if operator not in ("=", "!="):
                found.append(f"{name}: {label}{operator} is not checked")
            elif value not in values:
                found.append(f'{name}: no series has {label}="{value}"')
    found += [f"no {name}" for name in RECORDED.findall(expression) if name not in recorded()]
    if not RECORDED.search(expression):
        grouped = {label.strip() for match in GROUPING.findall(expression) for label in match.split(",")}
        found += [f"no series has {label}" for label in sorted(grouped - labels)]
    return found


def recorded() -> set[str]:
    return set(re.findall(r"- record: (\S+)", RULES.read_text()))


SOURCES = {"rules": of_rules, "autoscalers": of_autoscalers} | {
    path.name: lambda path=path: of_dashboard(path) for path in DASHBOARDS
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_named_is_served(source, scraped) -> None:
    expressions = SOURCES[source]()
    assert sum(bool(METRIC.search(expression) or RECORDED.search(expression)) for expression in expressions) >= 3
    assert [fault for expression in expressions for fault in faults(expression, scraped)] == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(longtake_stall_total[5m])", "longtake_stall_total"),
        ("longtake_backlog_seconds_sum", "longtake_backlog_seconds_sum"),
        ('longtake_backlog_seconds{delivery="Live"}', 'longtake_backlog_seconds: no series has delivery="Live"'),
        ('longtake_sessions{job="a",status="active"}', 'longtake_sessions: no series has status="active"'),
        ("sum by (reasons) (longtake_refusals_total)", "no series has reasons"),
        ("job:longtake_continuity:ratio_rate9m", "no job:longtake_continuity:ratio_rate9m"),
    ],
)
def test_a_wrong_name_is_found(expression, fault, scraped) -> None:
    assert faults(expression, scraped) == [fault]


def test_the_dashboard_shows_every_metric(scraped) -> None:
    """All but a few that other panels make unnecessary."""
    unnecessary = {"batch_tokens", "chunk_bytes", "chunks", "passes_in_flight", "quote_over_actual_ratio", "reduced_blocks"}
    unnecessary |= {"session_moves", "session_move_seconds", "stalls"}
    rules = {rule["record"]: rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
             if "record" in rule}  # fmt: skip
    shown = [expression for path in DASHBOARDS for expression in of_dashboard(path)]
    shown += [rules[name] for expression in shown for name in RECORDED.findall(expression)]
    named = {family(name) for expression in shown for name, _ in METRIC.findall(expression)}
    assert {family(name) for name in scraped} - named == unnecessary


def family(name: str) -> str:
    return re.sub(r"_(bucket|sum|count|total)$", "", name.removeprefix("longtake_"))
