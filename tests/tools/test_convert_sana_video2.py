"""The converter on checkpoints of SANA-Video 2.0's transformer, whose tensors keep their names."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tools import safetensors_stream, tensor_lists
from tools.convert import __main__ as converter

CONFIG = {
    "_class_name": "SanaVideo2",
    "layers": 4,
    "width": 256,
    "linear_head_dim": 64,
    "softmax_head_dim": 256,
    "cross_heads": 2,
    "softmax_ratio": 0.25,
    "ffn_ratio": 2,
    "residual_block": 8,
    "channels": 8,
    "caption_channels": 12,
    "patch_size": [1, 1, 1],
}


@pytest.fixture
def tensors():
    random = np.random.default_rng(3)
    shapes = dict(tensor_lists.sana_video2(CONFIG))
    return {name: random.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def saved(path, tensors, prefix="model."):
    """As NVlabs nests them, with the buffers that are dropped."""
    extra = {"pos_embed": np.zeros((1, 4), np.float16), "y_embedder.y_embedding": np.zeros((300, 12), np.float16)}
    save_file({prefix + name: value for name, value in (tensors | extra).items()}, path)
    return path


def test_tensors_and_config_are_kept(tmp_path, tensors):
    converter.convert(saved(tmp_path / "5b.safetensors", tensors), tmp_path / "out")
    written = load_file(tmp_path / "out" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(np.array_equal(written[name], tensors[name]) for name in tensors)
    assert json.loads((tmp_path / "out" / "transformer" / "config.json").read_text()) == CONFIG
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "SanaVideo2"]


def test_the_list_of_tensors_is_that_of_the_exported_model(parity_data):
    folder = parity_data / "models" / "sana_video2" / "transformer"
    header = safetensors_stream.read_header(folder / "diffusion_pytorch_model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} == dict(tensor_lists.sana_video2(config))


def test_the_engine_reads_the_folder_as_sana_video_2(tmp_path, tensors, settings_of):
    converter.convert(saved(tmp_path / "5b.safetensors", tensors), tmp_path / "own")
    told = settings_of(tmp_path / "own")
    picked = {name: told[name] for name in ("family", "sampler", "steps", "shift", "guidance", "motion_score", "fps")}
    assert picked == {
        "family": "sana_video_2",
        "sampler": "flow_dpm_solver",
        "steps": 50,
        "shift": 12.0,
        "guidance": 8.0,
        "motion_score": 20,
        "fps": 24.0,
    }
    (tmp_path / "own" / "longtake.json").unlink()
    assert settings_of(tmp_path / "own") == told, "the transformer's class says as much"


def test_the_four_step_model_has_its_levels(tmp_path, tensors, settings_of):
    file = saved(tmp_path / "4step.safetensors", tensors)
    converter.convert(file, tmp_path / "own", sampler="flow_lcm")
    told = settings_of(tmp_path / "own")
    picked = {name: told[name] for name in ("family", "sampler", "guidance", "first_image", "motion_score", "fps")}
    assert picked == {
        "family": "sana_video_2",
        "sampler": "flow_lcm",
        "guidance": 1.0,
        "first_image": "none",
        "motion_score": 20,
        "fps": 24.0,
    }
    assert told["sigmas"] == [0.9998332262, 0.9471688271, 0.8568977118, 0.6663702130]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.2.mlp.up_proj.bias"), "tensor blocks.2.mlp.up_proj.bias is missing"),
        (lambda t: t.update({"blocks.1.attn.more": np.zeros(3, np.float16)}), "tensor blocks.1.attn.more is superfluous"),
        (lambda t: t.pop("x_embedder.proj.weight"), "tensor x_embedder.proj.weight is missing"),
        (lambda t: t.pop("blocks.0.attn.beta_proj.weight"), "layers [0, 3] have no attn.beta_proj"),
        (lambda t: t.update({"t_block.1.weight": np.zeros((5, 256), np.float16)}), "t_block.1.weight has shape [5, 256]"),
        (lambda t: t.update({"blocks.4000000.x": np.zeros(1, np.float16)}), "the most layers are 1024"),
    ],
)
def test_faults_are_named(tmp_path, tensors, change, message):
    change(tensors)
    with pytest.raises(ValueError) as error:
        converter.convert(saved(tmp_path / "5b.safetensors", tensors), tmp_path / "out")
    assert message in str(error.value)
    assert "5b.safetensors" in str(error.value)
