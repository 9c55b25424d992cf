"""bench/charts.py and what draws the simulations' results: what is drawn is there."""

import cv2
import numpy as np
import pytest

from bench import charts
from bench.serving import plot, plot_autoscaling


def colours(path):
    """Shares of the picture's pixels that are not grey."""
    image = cv2.imread(str(path)).astype(int)
    return np.mean(image.max(axis=2) - image.min(axis=2) > 60)


def test_a_report_becomes_a_picture(tmp_path):
    report = {
        "continuity": 0.5,
        "judged": 2,
        "timeline": {"video_s": [0, 1, 2], "stalls": [0, 0, 1], "refused": [0, 0, 0], "watching": [1, 2, 2]},
        "each": [{"live": True, "first_chunk": 0.3}, {"live": True, "first_chunk": 0.5}, {"live": False}],
    }
    charts.loadtest(report, tmp_path / "load.png")
    assert cv2.imread(str(tmp_path / "load.png")).shape[:2] == (640, 900)
    assert colours(tmp_path / "load.png") > 0.002
    charts.loadtest({**report, "each": []}, tmp_path / "empty.png")
    assert cv2.imread(str(tmp_path / "empty.png")).shape[:2] == (320, 900)
    charts.passes({"passes_per_s": {"1": 100, "16": 120}, "one_at_a_time": 99}, tmp_path / "passes.png")
    assert colours(tmp_path / "passes.png") > 0.002


def test_policies_become_a_picture(tmp_path):
    loads = {"ours": [0.5, 0.52, 0.51], "edf": [0.48, 0.5, 0.49]}
    plot.draw({"load_at_99_equal": loads, "load_at_99_mixed": loads}, tmp_path / "policies.svg")
    text = (tmp_path / "policies.svg").read_text()
    assert text.startswith("<?xml")
    assert text.count("#0b6e4f") >= 2


def test_fleets_become_a_picture(tmp_path):
    def fleet(order, hours, continuity=1.0):
        timeline = {"when": [0, 30, 60], "wanted": [2, 3, 3], "ready": [2, 2, 3], "existing": [2, 3, 3]}
        return {"order": order, "pod_hours": [hours], "continuity": [continuity], "timeline": timeline}

    policies = {
        "backlog 15": fleet(0, 3, 0.99),
        "cpu 0.5": fleet(1, 4),
        "fixed_peak": fleet(2, 6),
        "fixed_mean": fleet(3, 2, 0.5),
    }
    result = {"load": {"day": [1, 2, 1]}, "policies": {"day": policies}}
    plot_autoscaling.draw(result, tmp_path / "time.png")
    assert cv2.imread(str(tmp_path / "time.png")).shape[:2] == (320, 900)
    result["targets"] = {"day": {"backlog 15": fleet(0, 3, 0.99), "backlog 30": fleet(1, 2.5, 0.9), "cpu 0.5": fleet(2, 4)}}
    (_, x_name, series) = plot_autoscaling.costs(result, "day")
    assert x_name == "pod-hours"
    assert {name: (xs, [round(y, 6) for y in ys]) for name, xs, ys in series} == {
        "backlog": ((2.5, 3), [10, 1]),
        "cpu": ((4,), [0]),
        "fixed_peak": ((6,), [0]),
    }
    parts = [{"policies": result["policies"], "load": result["load"]}, {"targets": result["targets"], "seeds": 5}]
    assert plot_autoscaling.merged(parts) == result
    plot_autoscaling.draw(result, tmp_path / "both.png")
    assert cv2.imread(str(tmp_path / "both.png")).shape[:2] == (640, 900)
    assert colours(tmp_path / "both.png") > 0.002


def test_intervals_are_students():
    mean, half = plot.interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert half == pytest.approx(2.776 * (2.5 / 5) ** 0.5)
