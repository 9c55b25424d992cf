"""bench/charts.py: what is drawn is there, and where it belongs."""

import cv2
import numpy as np
import pytest

from bench import charts


def rows_of(image, colour):
    return np.where((image == np.array(colour, np.uint8)).all(axis=2))[0]


@pytest.mark.parametrize("largest, last", [(7.3, 8), (0.9, 0.9), (100, 100), (1, 1), (0, 1)])
def test_ticks_reach_the_largest_value(largest, last):
    ticks = charts.ticks(largest)
    assert ticks[0] == 0
    assert last <= ticks[-1] + 1e-9 <= last * 1.5 + 1e-9
    assert 2 <= len(ticks) <= 8


def test_a_higher_value_is_drawn_higher():
    flat = rows_of(charts.panel("", "s", [("", [0, 1, 2], [1, 1, 1]), ("", [0, 1, 2], [4, 4, 4])]), charts.COLOURS[0])
    high = rows_of(charts.panel("", "s", [("", [0, 1, 2], [3, 3, 3]), ("", [0, 1, 2], [4, 4, 4])]), charts.COLOURS[0])
    assert len(flat) > 100
    assert np.median(high) < np.median(flat)


def test_a_report_becomes_a_picture(tmp_path):
    report = {
        "continuity": 0.5,
        "judged": 2,
        "timeline": {"video_s": [0, 1, 2], "stalls": [0, 0, 1], "refused": [0, 0, 0], "watching": [1, 2, 2]},
        "each": [{"live": True, "first_chunk": 0.3}, {"live": True, "first_chunk": 0.5}, {"live": False}],
    }
    charts.loadtest(report, tmp_path / "load.png")
    image = cv2.imread(str(tmp_path / "load.png"))
    assert image.shape == (640, 900, 3)
    charts.loadtest({**report, "each": []}, tmp_path / "empty.png")
    assert cv2.imread(str(tmp_path / "empty.png")).shape == (320, 900, 3)
    charts.passes({"passes_per_s": {"1": 100, "16": 120}, "one_at_a_time": 99}, tmp_path / "passes.png")
    assert cv2.imread(str(tmp_path / "passes.png")).shape == (320, 900, 3)
