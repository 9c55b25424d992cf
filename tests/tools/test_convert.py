"""The converter on a checkpoint that torch wrote, whose transformer diffusers wrote as well (tools/export/nvlabs.py)."""

import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tools import convert, safetensors_stream, tensor_lists
from tools.convert import __main__ as converter
from tools.convert import files, keys, pth
from tools.convert.tensors import write_tensors

HEADS = {"head_dim": 28, "cross_head_dim": 20}


@pytest.fixture
def checkpoint(tool_data):
    return tool_data / "nvlabs_tiny.pth"


@pytest.fixture
def original(parity_data):
    return parity_data / "models" / "causal_guided" / "transformer"


def stored(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    return {
        name: (entry["dtype"], entry["shape"], safetensors_stream.read_bytes(file, name))
        for name, entry in safetensors_stream.read_header(file).items()
    }


def test_tensors_are_those_that_diffusers_wrote(tmp_path, checkpoint, original):
    converter.convert(checkpoint, tmp_path, **HEADS)
    assert stored(tmp_path / "transformer") == stored(original)


def test_config_is_that_of_diffusers(tmp_path, checkpoint, original):
    converter.convert(checkpoint, tmp_path, **HEADS)
    made = json.loads((tmp_path / "transformer" / "config.json").read_text())
    reference = json.loads((original / "config.json").read_text())
    free = {"_diffusers_version", "norm_eps", "rope_max_seq_len"}  # no tensor shows these
    assert {k: v for k, v in made.items() if k not in free} == {k: v for k, v in reference.items() if k not in free}


def test_settings_and_other_parts(tmp_path, checkpoint, parity_data):
    caption = parity_data / "models" / "caption"
    converter.convert(checkpoint, tmp_path, prompt_prefix="Say: ", parts_from=caption, **HEADS)
    settings = json.loads((tmp_path / "longtake.json").read_text())
    assert settings["timesteps"] == [1000, 960, 889, 727]
    assert settings["shift"] == 7.0
    assert settings["block_latent_frames"] == 10
    assert settings["motion_score"] == 10
    assert settings["prompt_prefix"] == "Say: "
    assert (tmp_path / "tokenizer" / "tokenizer.model").read_bytes() == (caption / "tokenizer" / "tokenizer.model").read_bytes()
    assert set(json.loads((tmp_path / "model_index.json").read_text())) >= {"transformer", "text_encoder", "tokenizer"}


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_the_engine_reads_the_folder_as_longsana(tmp_path, checkpoint, settings_of):
    """All settings are those of a folder that names LongSANA's class, as the published one does."""
    converter.convert(checkpoint, tmp_path / "own", **HEADS)
    converter.convert(checkpoint, tmp_path / "prefix", prompt_prefix="Say:\n: ", **HEADS)
    causal = ["diffusers", "SanaVideoCausalTransformer3DModel"]
    write_json(tmp_path / "published" / "model_index.json", {"transformer": causal})
    told = settings_of(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "longtake.json").read_text())["sampler"] == "few_step"
    assert told == settings_of(tmp_path / "published")
    assert settings_of(tmp_path / "prefix") == {**told, "prompt_prefix": ["Say:", ": "]}
    (tmp_path / "own" / "longtake.json").unlink()
    with pytest.raises(AssertionError, match="nothing says how to sample"):
        settings_of(tmp_path / "own")


def test_the_engine_reads_the_folder_as_sana_video(tmp_path, checkpoint, settings_of):
    """All settings are those of a folder as diffusers saves it, with and without a field of ours."""
    converter.convert(checkpoint, tmp_path / "own", sampler="bidirectional", **HEADS)
    converter.convert(checkpoint, tmp_path / "prefix", sampler="bidirectional", prompt_prefix="Say: ", **HEADS)
    scheduler = {
        "_class_name": "DPMSolverMultistepScheduler",
        "use_flow_sigmas": True,
        "prediction_type": "flow_prediction",
        "flow_shift": 8.0,
    }
    write_json(tmp_path / "published" / "scheduler" / "scheduler_config.json", scheduler)
    told = settings_of(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "longtake.json").read_text())["sampler"] == "flow_dpm_solver"
    assert told == settings_of(tmp_path / "published")
    assert settings_of(tmp_path / "prefix") == {**told, "prompt_prefix": ["Say: "]}


def test_the_index_names_the_classes_that_were_copied(tmp_path, checkpoint):
    write_json(tmp_path / "parts" / "vae" / "config.json", {"_class_name": "AutoencoderKLLTX2Video"})
    converter.convert(checkpoint, tmp_path / "out", sampler="bidirectional", parts_from=tmp_path / "parts", **HEADS)
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderKLLTX2Video"]
    assert index["transformer"] == ["diffusers", "SanaVideoTransformer3DModel"]
    assert index["scheduler"] == ["diffusers", "DPMSolverMultistepScheduler"]


def test_mlp_ratio_gives_the_hidden_width():
    """Readers cut ratio * width to a whole number: 49 / 88 * 88 is 48.99…"""
    assert int(49 / 88 * 88) == 48
    for width in range(1, 200):
        for hidden in range(1, 3 * width + 1):
            assert int(converter.mlp_ratio(hidden, width) * width) == hidden
    assert converter.mlp_ratio(6720, 2240) == 3.0


def test_other_type(tmp_path, checkpoint, original):
    converter.convert(checkpoint, tmp_path, dtype="float32", **HEADS)
    made, reference = stored(tmp_path / "transformer"), stored(original)
    for name, (dtype, _, data) in made.items():
        assert dtype == "F32"
        assert b"".join(data[i + 2 : i + 4] for i in range(0, len(data), 4)) == reference[name][2]  # bfloat16 is its top half


def test_nesting_and_prefix():
    tensor = pth.StoredTensor("F32", (1,), None, 0, (1,))
    for saved in (
        {"a": tensor},
        {"model.a": tensor},
        {"state_dict": {"a": tensor}},
        {"generator": {"model.a": tensor}, "step": 3},
        {"model.module.a": tensor},
        {"module.a": tensor},
        {"model": {"generator_ema": {"a": tensor}, "generator": {"b": tensor}}},
    ):
        assert files.find_weights(saved) == {"a": tensor}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.0.mlp.t_conv.weight"), "ff.conv_temp.weight is missing"),
        (lambda t: t.update({"blocks.0.mlp.extra.weight": t["pos_embed"]}), "blocks.0.mlp.extra.weight has no place"),
        (lambda t: t.update({"blocks.0.attn.qkv.bias": t["t_block.1.bias"]}), "attn1.to_q.bias has shape"),
        (lambda t: t.update({"blocks.0.attn.q_norm.weight": t["t_block.1.bias"]}), "attn1.norm_q.weight has shape"),
    ],
)
def test_faults_are_named(tmp_path, checkpoint, change, message):
    tensors = files.find_weights(pth.load(checkpoint))
    change(tensors)
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        renamed = converter.rename(tensors)
        config = converter.infer_config(renamed, 28, 20)
        write_tensors(tmp_path, renamed, tensor_lists.transformer(config), config, "keep")


def test_wrong_head_width_is_named(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="--head-dim 112"):
        converter.convert(checkpoint, tmp_path)


def test_unknown_name_is_refused():
    with pytest.raises(KeyError):
        keys.convert("blocks.0.attn.rotary.weight")
    assert keys.convert("blocks.3.cross_attn.kv_linear.bias") == (
        "transformer_blocks.3.attn2.to_k.bias",
        "transformer_blocks.3.attn2.to_v.bias",
    )


def write_zip(path, data, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)


class Runs:
    """An object whose unpickling would call a function."""

    def __reduce__(self):
        return (print, ("this must not run",))


def test_nothing_stored_is_run(tmp_path, capsys):
    write_zip(tmp_path / "x.pth", pickle.dumps({"a": Runs(), "b": 1}, 2))
    saved = pth.load(tmp_path / "x.pth")
    assert isinstance(saved["a"], pth.Opaque)
    assert saved["b"] == 1
    assert capsys.readouterr().out == ""


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert", *map(str, arguments)])
    return converter.main()


def test_main_names_what_it_cannot_read(tmp_path, checkpoint, monkeypatch, capsys):
    write_zip(tmp_path / "cut.pth", pickle.dumps({"a": 1}, 2)[:-3])
    write_zip(tmp_path / "odd.pth", b"ctorch._utils\n_rebuild_tensor_v2\n(I1\ntR.")
    (tmp_path / "half.pth").write_bytes(checkpoint.read_bytes()[:5000] + checkpoint.read_bytes()[-900:])
    (tmp_path / "text.pth").write_text("no archive")
    for name in ("cut.pth", "odd.pth", "half.pth", "text.pth", "missing.pth"):
        assert run_main(monkeypatch, tmp_path / name, "--out", tmp_path / "out") == 1, name
        assert name in capsys.readouterr().err
    assert run_main(monkeypatch, checkpoint, "--out", tmp_path / "out", "--prompt-prefix", tmp_path / "gone.txt") == 1
    assert "gone.txt" in capsys.readouterr().err


def strided(shape, stride, offset=0, size=8):
    return pth.StoredTensor("F32", shape, np.arange(size, dtype=np.float32), offset, stride)


def test_tensors_stay_within_their_storage():
    assert strided((2, 4), (4, 1)).bits().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert strided((4, 2), (1, 4)).bits().tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    for hostile in (
        strided((2, 4), (4, 1), offset=1),
        strided((2,), (-1,)),
        strided((3, 2), (-3, 4), offset=5),
        strided((3, 3), (-4, 4), offset=0),  # its first and last elements are within, others are not
        strided((1 << 40,), (0,)),
        strided((1,), (1,), offset=-1),
    ):
        with pytest.raises(pth.PthError):
            hostile.bits()


def test_a_hostile_layer_number_ends_in_an_error(checkpoint):
    tensors = files.find_weights(pth.load(checkpoint))
    tensors["blocks.99999999999.mlp.t_conv.weight"] = tensors["blocks.0.mlp.t_conv.weight"]
    with pytest.raises(ValueError, match="layer 99999999999"):
        converter.infer_config(converter.rename(tensors), 28, 20)


def test_unreadable_files_are_named(tmp_path, checkpoint, capsys):
    (tmp_path / "text.pth").write_text("no archive")
    with pytest.raises(pth.PthError, match="no zip archive"):
        pth.load(tmp_path / "text.pth")
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    with pytest.raises(pth.PthError, match="compressed"):
        pth.load(packed)
    assert convert.__doc__
