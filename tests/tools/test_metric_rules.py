"""The rules for Prometheus: promtool's own tests of them, and that each metric they name exists."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
TESTS = ROOT / "deploy/prometheus/rules_test.yml"
# What a histogram is scraped as.
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def documented() -> set[str]:
    return set(re.findall(r"^\| `(longtake_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def named(text: str) -> set[str]:
    """Metrics in expressions; recorded ones have a colon before or behind."""
    return set(re.findall(r"(?<![:\w])longtake_\w+(?![:\w])", re.sub(r"#.*", "", text)))


def test_rules_name_metrics_that_exist() -> None:
    known = documented()
    for path in (RULES, TESTS):
        names = named(path.read_text())
        assert len(names) > 4
        assert {SUFFIX.sub("", name) for name in names} <= known, path.name
    assert named("rate(longtake_x_total[1m]) / job:longtake_y:rate1m") == {"longtake_x_total"}


def test_every_rule_is_tested() -> None:
    tests = TESTS.read_text()
    names = re.findall(r"- (?:record|alert): (\S+)", RULES.read_text())
    assert len(names) > 5
    assert [name for name in names if name not in tests] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus, 96 MB)")
@pytest.mark.parametrize("command", [["check", "rules", str(RULES)], ["test", "rules", str(TESTS)]])
def test_promtool(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
