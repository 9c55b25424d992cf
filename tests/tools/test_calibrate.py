"""bench/calibrate.py: what it reads from the server and what it makes of the runs."""

import pytest

from bench import calibrate

METRICS = """# TYPE longtake_pass_device_seconds histogram
longtake_pass_device_seconds_count{kind="denoise"} 10
longtake_pass_device_seconds_sum{kind="denoise"} 0.5
longtake_pass_device_seconds_bucket{kind="denoise",le="0.001"} 3
"""


class FakeServer:
    def __init__(self, path, text):
        path.write_text(text)
        self.metrics_url = path.as_uri()


def test_a_runs_passes_are_those_between_two_looks(tmp_path):
    before = calibrate.passes_of(FakeServer(tmp_path / "a", METRICS))
    assert before == {("count", "denoise"): 10, ("sum", "denoise"): 0.5}
    after = {("count", "denoise"): 30, ("sum", "denoise"): 2.5, ("count", "decode"): 4, ("sum", "decode"): 1}
    assert calibrate.means(before, after) == {"denoise": pytest.approx(0.1), "decode": 0.25}
    assert calibrate.means(after, after) == {}


def test_a_table_is_scaled_by_lane():
    table = {"text": 1, "decode": 3, "encode": 5, "transformer": [[4, 2], [8, 3]]}
    scaled = calibrate.scaled(table, 0.5, 2, 10)
    assert scaled == {"text": 0.5, "decode": 30, "encode": 5, "transformer": [[4, 4], [8, 6]]}
    assert table["decode"] == 3


def test_runs_are_compared_in_pairs():
    real = [{"first": 1.0, "refused": 0}, {"first": 2.0, "refused": 0}, {"first": 4.0, "refused": 0}]
    simulated = [{"first": 1.1, "refused": 0}, {"first": 1.8, "refused": 0}, {"first": 4.0, "refused": 0}]
    out = calibrate.compare(real, simulated)
    assert out["first"]["ratio"] == 1.0
    assert out["first"]["real_scatter"] == 1.5
    assert out["refused"]["ratio"] is None


def test_encoders_take_their_part_of_the_machine():
    table = {
        "steps": 4,
        "block_latents": 4,
        "frames_per_latent": 4,
        "fps": 16,
        "transformer": [[4, 0.1]],
        "decode": 0.1,
        "encode": 0.04,
        "encode_begin": 0.04,
        "engine_speed": [1, 0.5],
    }
    # A second of video: five passes of 0.1 s, four decodes of 0.1 s, four encodings that take half of 0.05 s each.
    assert calibrate.rate_of(table) == pytest.approx(1 / (0.5 + 0.4 + 0.1))
