"""The maker of random folders against folders that diffusers and transformers wrote."""

import json

import numpy as np
import pytest

from tools import make_model, safetensors_stream

SMALL = {
    "transformer": {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_cross_attention_heads": 1,
        "cross_attention_head_dim": 24,
        "cross_attention_dim": 32,
        "caption_channels": 20,
        "num_layers": 1,
    },
    "text_encoder": {
        "hidden_size": 20,
        "head_dim": 8,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "vocab_size": 300,
    },
    "vae": {"base_dim": 4, "z_dim": 16},
}


def committed_parts(root):
    """(part, folder) of every part of every committed model folder."""
    found = [(part, f) for part in make_model.PARTS for f in sorted(root.glob(f"models/*/{part}"))]
    assert {part for part, _ in found} == set(make_model.PARTS)
    return found


def stored_shapes(folder):
    shapes = {}
    for file in folder.glob("*.safetensors"):
        shapes |= {name: tuple(e["shape"]) for name, e in safetensors_stream.read_header(file).items()}
    return shapes


def test_tensor_lists_equal_what_the_libraries_save(parity_data):
    for part, folder in committed_parts(parity_data):
        config = json.loads((folder / "config.json").read_text())
        if "quantization_config" in config:  # its weights have other shapes, and scales beside them
            continue
        _, list_tensors, *_ = make_model.part_of(part, config)
        assert dict(list_tensors(config)) == stored_shapes(folder), folder


def test_sana_video_2_has_the_published_number_of_parameters():
    defaults, list_tensors, *_ = make_model.part_of("transformer", {"_class_name": "SanaVideo2"})
    assert sum(int(np.prod(shape)) for _, shape in list_tensors(defaults)) == 4_466_980_960


def test_tiny_decoders_have_the_published_sizes():
    def count(name):
        shapes = dict(make_model.tensor_lists.tiny_decoder(make_model.TINY_DECODERS[name]))
        return sum(int(np.prod(shape)) for shape in shapes.values())

    assert count("taew2_1") == pytest.approx(9.8e6, rel=0.01)
    assert count("taeltx_2") == pytest.approx(10.2e6, rel=0.01)


def test_a_tiny_decoder_has_the_tensors_of_a_committed_one(parity_data):
    shapes = stored_shapes(parity_data / "models/tiny_decoder/tiny_decoder")
    config = {"channels": 4, "patch": 2, "widths": [8, 6, 4, 4], "times": [1, 2, 2]}
    ours = dict(make_model.tensor_lists.tiny_decoder(config))
    assert {name: shape for name, shape in shapes.items() if not name.startswith("encoder.")} == ours


def test_default_sizes_are_the_published_ones():
    def count(part):
        defaults, list_tensors, _ = make_model.PARTS[part]
        return sum(int(np.prod(shape)) for _, shape in list_tensors(defaults))

    assert count("transformer") == pytest.approx(2.057e9, rel=1e-3)
    assert count("text_encoder") == 2_614_341_888  # Gemma-2-2B
    assert count("vae") == pytest.approx(126.9e6, rel=1e-3)
    for config in (make_model.LTX2_VAE, make_model.LTX2_CAUSAL_VAE):
        shapes = dict(make_model.part_of("vae", config)[1](config))
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == pytest.approx(694e6 + 528e6, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_small_folder(tmp_path, dtype):
    make_model.write_model(tmp_path, list(make_model.PARTS), SMALL, dtype=dtype, shard_bytes=10_000)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for part, (defaults, list_tensors, stem) in make_model.PARTS.items():
        config = json.loads((tmp_path / part / "config.json").read_text())
        assert config == {**defaults, **SMALL[part]}
        assert stored_shapes(tmp_path / part) == dict(list_tensors(config))
        assert (tmp_path / part / f"{stem}.safetensors.index.json").exists()
        assert part in index


def test_weights_are_scaled_and_follow_from_the_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_model.write_model(tmp_path / name, ["transformer"], SMALL, dtype="float32", seed=seed)
    files = [tmp_path / name / "transformer" / "diffusion_pytorch_model.safetensors" for name in "abc"]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    tensor = np.frombuffer(safetensors_stream.read_bytes(files[0], "time_embed.linear.weight"), np.float32)
    assert tensor.std() == pytest.approx(1 / np.sqrt(32), rel=0.1)


def test_the_engine_reads_the_few_step_folder_as_it_was_meant(tmp_path, settings_of):
    make_model.write_model(tmp_path, ["transformer", "vae"], SMALL, settings={"fps": 24, "prompt_prefix": "p: "})
    told = settings_of(tmp_path)
    assert {name: told[name] for name in make_model.FEW_STEP} == {**make_model.FEW_STEP, "fps": 24}
    rest = {name: value for name, value in told.items() if name not in make_model.FEW_STEP}
    assert rest == {
        "step_ladder": [],
        "state_window_blocks": 0,
        "prompt_switch": "recompute_last",
        "guidance": 1,
        "negative_prompt": "",
        "prompt_prefix": ["p: "],
        "lower_case": False,
        "strip_before_motion_score": False,
        "first_image": "none",
        "about": "",
        "examples": [],
    }


def test_the_engine_reads_the_bidirectional_folder_as_it_was_meant(tmp_path, settings_of):
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    make_model.write_model(plain, ["transformer"], SMALL, sampler="bidirectional")
    make_model.write_model(changed, ["transformer"], SMALL, sampler="bidirectional", settings={"fps": 24})
    told = settings_of(plain)
    assert json.loads((plain / "longtake.json").read_text())["sampler"] == told["sampler"] == "flow_dpm_solver"
    assert (told["family"], told["steps"], told["shift"], told["guidance"]) == ("sana_video_480p", 50, 8, 6)
    assert told["prompt_prefix"][-1] == "User Prompt: "
    assert settings_of(changed) == {**told, "fps": 24}
    # Without our file, the folder is what diffusers would save, and the same.
    (plain / "longtake.json").unlink()
    assert settings_of(plain) == told
