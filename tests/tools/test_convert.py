"""The converter on a checkpoint that torch wrote, whose transformer diffusers wrote as well (tools/export/nvlabs.py)."""

import json
import pickle
import zipfile

import pytest

from tools import convert, safetensors_stream
from tools.convert import __main__ as converter
from tools.convert import keys, pth

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


def test_bidirectional_settings(tmp_path, checkpoint):
    converter.convert(checkpoint, tmp_path, sampler="bidirectional", **HEADS)
    assert json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())["flow_shift"] == 8.0
    assert not (tmp_path / "longtake.json").exists()


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
        {"model": {"generator_ema": {"a": tensor}, "generator": {"b": tensor}}},
    ):
        assert converter.find_weights(saved) == {"a": tensor}


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
    tensors = converter.find_weights(pth.load(checkpoint))
    change(tensors)
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        renamed = converter.rename(tensors)
        converter.write_transformer(tmp_path, renamed, converter.infer_config(renamed, 28, 20), "keep")


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
