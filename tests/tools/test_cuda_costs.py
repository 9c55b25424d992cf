"""The model of what CUDA kernels cost. That it names the launches that are made, and as many, is checked by the rehearsal of
scripts/gpu.sh; here is what it says of the 2B model."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cuda_costs import by_name
from bench.cuda_device import DEVICES, Launch
from bench.cuda_launches import Launches, Model

ROOT = Path(__file__).resolve().parents[2]
H200 = DEVICES["h200"]


def totals(dtype: str) -> dict[str, float]:
    launches = Model.two_billion().launches(dtype)
    return {kind: sum(launch.seconds(H200) for launch in of_kind) for kind, of_kind in launches.items()}


def test_operations_of_the_2b_model() -> None:
    launches = Model.two_billion().launches("bfloat16")
    tokens, d = 10 * 30 * 52, 2240
    layer = 2 * tokens * d * (3 * d + d + d + d + 6 * d + 3 * d + 3 * d)
    dense = sum(launch.count * launch.dense for launch in launches["denoise"])
    assert dense == pytest.approx(20 * layer, rel=0.01)  # and the layers before and behind these
    # 13.5 TFLOP a latent frame, and what blocks of 32 channels make of three.
    convolutions = sum(launch.mma for launch in launches["decode"] if launch.name.startswith("conv"))
    assert 13.4e12 < convolutions < 14.5e12


def test_float8_multiplies_six_of_seven_products_in_e4m3() -> None:
    launches = Model.two_billion().launches("float8")["denoise"]
    assert sum(launch.narrow for launch in launches) == 6 * 20
    assert by_name(launches, H200)["quantize to e4m3"]["calls"] == 6 * 20
    assert totals("float8")["denoise"] < 0.8 * totals("bfloat16")["denoise"]
    assert totals("float8")["decode"] == totals("bfloat16")["decode"]


def test_the_longer_of_two_times_counts() -> None:
    moved = Launch("copy", count=2, bytes=0.87 * 4.3e9)
    assert moved.seconds(H200) == pytest.approx(2 * (1e-3 + H200.launch))
    assert moved.bound(H200) == "bytes"
    both = dataclasses.replace(moved, instructions=2e-3 * H200.issued, mma=1e-3 * H200.mma)
    assert both.seconds(H200) == pytest.approx(2 * (3e-3 + H200.launch))
    assert both.bound(H200) == "instructions"


def test_the_last_round_of_blocks_counts_whole() -> None:
    launch = Launch("conv_tile", mma=1e-3 * H200.mma, blocks=133)
    assert launch.seconds(H200) == pytest.approx(1e-3 * 2 * 132 / 133 + H200.launch)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ({"outputs": 64}, ["matrix product of 64 inputs, 64 outputs"]),
        ({"outputs": 35}, ["matrix product of 64 inputs, 48 outputs", "epilogue"]),
        ({"outputs": 64, "silu": True}, ["matrix product of 64 inputs, 64 outputs", "epilogue"]),
        ({"outputs": 4096, "silu": True}, ["matrix product of 64 inputs, 4096 outputs", "activate"]),
        ({"inputs": 33, "outputs": 64}, ["pad", "matrix product of 48 inputs, 64 outputs"]),
        ({"outputs": 64, "narrow": True}, ["quantize to e4m3", "matrix product of 64 inputs, 64 outputs"]),
    ],
)
def test_dense_layers_are_cut_as_the_backend_cuts_them(layer: dict, names: list[str]) -> None:
    launches = Launches()
    launches.dense(100, **{"inputs": 64, **layer})
    assert [launch.name for launch in launches] == names


def test_the_program_prints_both_passes_and_refuses_other_families(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.cuda_costs", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run("--json")
    assert done.returncode == 0, done.stderr
    tables = json.loads(done.stdout)
    assert tables["denoise"]["depthwise_glu"]["calls"] == 20
    assert tables["decode"]["conv_tile"]["calls"] > 50
    assert "Not measured" in run("--device", "h100").stdout

    model = Model.two_billion()
    for part, config in (("transformer", model.transformer), ("vae", {**model.vae, "_class_name": "AutoencoderKLLTX2Video"})):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    (tmp_path / "longtake.json").write_text(json.dumps(model.settings))
    refused = run("--model", str(tmp_path))
    assert refused.returncode != 0
    assert "AutoencoderKLLTX2Video" in refused.stderr
