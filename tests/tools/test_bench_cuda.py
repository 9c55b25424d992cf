"""The table of scripts/gpu.sh: limits met and not met, steps that failed, what was not measured."""

import json
import subprocess
import sys
from pathlib import Path

from bench.cuda_costs import by_name
from bench.cuda_device import DEVICES
from bench.cuda_launches import Model

ROOT = Path(__file__).resolve().parents[2]


def run(out: Path, steps: list[tuple[str, str, float]], benches: dict[str, dict], *options: str):
    (out / "steps.tsv").write_text("".join(f"{n}\t{s}\t{t}\n" for n, s, t in steps))
    for name, line in benches.items():
        (out / f"bench-{name}.json").write_text("loading\n" + json.dumps(line) + "\n")
    command = [sys.executable, "-m", "bench.cuda", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done, {row["what"]: row for row in json.loads((out / "gpu.json").read_text())["table"]}


FULL_PASS = {"tokens": 15600, "seconds": 0.09, "of_product_rate": 0.7}


def test_limits_are_told_and_do_not_fail(tmp_path: Path) -> None:
    stream = {"used_bytes": [10, 10], "planned_bytes": {"state": 160e6}, "frames_per_second": 51}
    done, table = run(tmp_path, [("parity", "ok", 1.0)], {"pass-bfloat16": FULL_PASS, "stream-bfloat16": stream})
    assert done.returncode == 0, done.stderr
    assert table["pass of a block, s"]["met"] is True
    assert table["of the products' rate"]["met"] is False
    assert table["stream, frames a second"]["met"] is True
    assert table["decoding a block, s"] == {
        "what": "decoding a block, s",
        "value": None,
        "limit": 0.3,
        "at_least": False,
        "met": None,
    }
    assert table["memory of a stream, last block / first"]["met"] is True
    assert "NOT MET" in done.stdout and "not measured" in done.stdout


def test_a_small_model_says_nothing_about_a_device(tmp_path: Path) -> None:
    small = {**FULL_PASS, "tokens": 8}
    _, table = run(tmp_path, [], {"pass-bfloat16": small, "stream-bfloat16": {"used_bytes": [10, 11]}})
    assert table["pass of a block, s"]["met"] is None
    assert table["memory of a stream, last block / first"]["met"] is False


def test_a_failed_step_fails(tmp_path: Path) -> None:
    done, _ = run(tmp_path, [("parity", "failed", 1.0), ("sanitizer-memcheck", "absent", 0.0)], {})
    assert done.returncode == 1
    assert "failed: parity" in done.stdout


def test_one_file_may_hold_several_cases(tmp_path: Path) -> None:
    lines = [
        {"case": "pass", "dtype": "bfloat16", **FULL_PASS},
        {
            "case": "launches",
            "dtype": "bfloat16",
            "denoise": [{"name": "epilogue", "calls": 40, "seconds": 0.003}, {"name": "pad", "calls": 1, "seconds": 0.001}],
            "decode": [{"name": "conv", "calls": 60, "seconds": 0.02}],
        },
    ]
    # The last line is cut off where the program was ended.
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"case": "dec'
    (tmp_path / "bench-main-bfloat16.json").write_text(text)
    done, table = run(tmp_path, [("bench-main-bfloat16", "failed", 1.0)], {})
    assert table["pass of a block, s"]["met"] is True
    assert table["decoding a block, s"]["value"] is None
    assert "epilogue" in done.stdout and "75.0%" in done.stdout and "20.000" in done.stdout


def test_a_clip_of_fewer_steps_is_scaled(tmp_path: Path) -> None:
    # 6 steps took 2.4 of 4.4 seconds.
    clip = {"seconds": 4.4, "frames": 81, "transformer_frames_per_second": 81 / 2.4, "denoise_steps": 6}
    _, table = run(tmp_path, [], {"pass-bfloat16": FULL_PASS, "clip-bfloat16": clip})
    assert abs(table["clip of 50 steps with guidance, s"]["value"] - (2.0 + 20.0)) < 1e-9
    assert table["clip of 50 steps with guidance, s"]["met"] is False


def test_expected_times_stand_beside_the_measured_ones(tmp_path: Path) -> None:
    model = Model.two_billion()
    folder = tmp_path / "model"
    for part, config in (("transformer", model.transformer), ("vae", model.vae)):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config))
    (folder / "longtake.json").write_text(json.dumps(model.settings))
    launches = {
        kind: [
            {"name": name, "calls": row["calls"], "seconds": 2 * row["seconds"]}
            for name, row in by_name(of_kind, DEVICES["h200"]).items()
        ]
        for kind, of_kind in model.launches("bfloat16").items()
    }
    bench = {"case": "launches", "dtype": "bfloat16", **launches}
    options = ("--model", str(folder))
    done, _ = run(tmp_path, [], {"launches-bfloat16": bench}, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "expected, H200" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "depthwise_glu" in line)
    measured, expected = float(line.split()[2]), float(line.split()[4])
    assert abs(measured - 2 * expected) < 0.002

    bench["denoise"][0]["calls"] += 1
    bench["decode"].append({"name": "copy", "calls": 3, "seconds": 1e-5})
    done, _ = run(tmp_path, [], {"launches-bfloat16": bench}, *options)
    assert done.returncode == 1
    assert "bfloat16, decode: copy: 3 and not 0" in done.stdout
    name = bench["denoise"][0]["name"]
    assert f"bfloat16, denoise: {name}: {bench['denoise'][0]['calls']} and not" in done.stdout
