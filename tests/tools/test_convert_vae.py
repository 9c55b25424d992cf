"""The converter on VAEs as Wan's and LTX's own files, whose tensors diffusers saved as well (tools/export/original_vae.py),
and on files that are damaged.
"""

import hashlib
import json
import struct
import sys

import numpy as np
import pytest

from tools import safetensors_stream, tensor_lists
from tools.convert import __main__ as converter
from tools.convert import files, ltx2_vae, safetensors_file, wan_vae
from tools.convert.vae import convert_vae

FIXTURES = ["wan_vae_tiny.pth", "ltx2_vae_tiny.safetensors", "ltx23_vae_tiny.safetensors"]


def expected_of(file):
    return json.loads(file.with_suffix(".json").read_text())


def stored(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    return {
        name: [entry["dtype"], entry["shape"], hashlib.sha256(safetensors_stream.read_bytes(file, name)).hexdigest()]
        for name, entry in safetensors_stream.read_header(file).items()
    }


def save(path, tensors, metadata=None):
    """Writes {name: StoredTensor} as safetensors."""
    specs = {name: safetensors_stream.TensorSpec(name, t.shape, t.dtype) for name, t in tensors.items()}
    safetensors_stream.write_part(path.parent, path.stem, specs.values(), lambda spec: tensors[spec.name].bits())
    if metadata is not None:
        rewrite_header(path, lambda header: header | {"__metadata__": metadata})


def rewrite_header(path, change):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize("name", FIXTURES)
def test_tensors_are_those_that_diffusers_saves(tmp_path, tool_data, name):
    convert_vae(tool_data / name, tmp_path)
    assert stored(tmp_path / "vae") == expected_of(tool_data / name)["tensors"]


@pytest.mark.parametrize("name", FIXTURES)
def test_config_is_that_of_diffusers(tmp_path, tool_data, name):
    assert convert_vae(tool_data / name, tmp_path) == expected_of(tool_data / name)["config"]["_class_name"]
    made = json.loads((tmp_path / "vae" / "config.json").read_text())
    reference = expected_of(tool_data / name)["config"]
    free = {"_diffusers_version", "attn_scales", "clip_output", "decoder_base_dim", "latents_mean", "latents_std"}
    assert {k: v for k, v in made.items() if k not in free} == {k: v for k, v in reference.items() if k not in free}
    if "latents_mean" in reference:  # Wan's numbers are diffusers' defaults
        assert made["latents_mean"] == reference["latents_mean"]
        assert made["latents_std"] == reference["latents_std"]


@pytest.mark.parametrize("name", FIXTURES)
def test_lists_of_tensors_are_those_that_diffusers_saves(tool_data, name):
    expected = expected_of(tool_data / name)
    list_of = tensor_lists.vae if name.startswith("wan") else tensor_lists.ltx2_vae
    shapes = {tensor: tuple(shape) for tensor, (_, shape, _) in expected["tensors"].items()}
    assert dict(list_of(expected["config"])) == shapes


@pytest.mark.parametrize("name", FIXTURES)
def test_the_other_kind_of_file_gives_the_same(tmp_path, tool_data, name):
    save(tmp_path / "again.safetensors", files.load(tool_data / name).tensors)
    convert_vae(tool_data / name, tmp_path / "one")
    convert_vae(tmp_path / "again.safetensors", tmp_path / "two")
    assert stored(tmp_path / "one" / "vae") == stored(tmp_path / "two" / "vae")


def test_other_type(tmp_path, tool_data):
    convert_vae(tool_data / "ltx2_vae_tiny.safetensors", tmp_path, "float32")
    assert {dtype for dtype, _, _ in stored(tmp_path / "vae").values()} == {"F32"}


def test_the_file_says_whether_the_decoder_is_causal(tmp_path, tool_data):
    tensors = files.load(tool_data / "ltx2_vae_tiny.safetensors").tensors
    file = tmp_path / "x.safetensors"
    for said, causal in (({"vae": {"causal_decoder": True}}, True), ({}, False), (None, False)):
        save(file, tensors, None if said is None else {"config": json.dumps(said)})
        convert_vae(file, tmp_path)
        assert json.loads((tmp_path / "vae" / "config.json").read_text())["decoder_causal"] is causal
    save(file, tensors, {"config": json.dumps({"vae": {"timestep_conditioning": True}})})
    with pytest.raises(ValueError, match="conditioned on a timestep"):
        convert_vae(file, tmp_path)


def test_a_transformer_and_a_vae_make_one_folder(tmp_path, tool_data):
    arguments = {"head_dim": 28, "cross_head_dim": 20, "vae": tool_data / "wan_vae_tiny.pth"}
    converter.convert(tool_data / "nvlabs_tiny.pth", tmp_path, **arguments)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderKLWan"]
    assert (tmp_path / "vae" / "config.json").is_file()
    assert (tmp_path / "transformer" / "config.json").is_file()


def test_a_transformer_is_read_from_safetensors_too(tmp_path, tool_data):
    tensors = files.load(tool_data / "nvlabs_tiny.pth").tensors
    save(tmp_path / "x.safetensors", {f"model.module.{name}": t for name, t in tensors.items() if t.dtype == "BF16"})
    converter.convert(tool_data / "nvlabs_tiny.pth", tmp_path / "one", head_dim=28, cross_head_dim=20)
    converter.convert(tmp_path / "x.safetensors", tmp_path / "two", head_dim=28, cross_head_dim=20)
    assert stored(tmp_path / "one" / "transformer") == stored(tmp_path / "two" / "transformer")


def without(name):
    return lambda tensors: tensors.pop(name)


def twice(name, other):
    return lambda tensors: tensors.update({other: tensors[name]})


LTX = "vae.decoder.up_blocks."


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("wan_vae_tiny.pth", without("decoder.middle.2.residual.6.bias"), "decoder.mid_block.resnets.1.conv2.bias is missing"),
        ("wan_vae_tiny.pth", without("encoder.conv1.weight"), "encoder.conv_in.weight is missing"),
        ("wan_vae_tiny.pth", without("encoder.downsamples.1.residual.2.weight"), "down_blocks.1.conv1.weight is missing"),
        ("wan_vae_tiny.pth", twice("conv1.weight", "encoder.downsamples.1.residual.2.weight"), "stages have the widths"),
        (
            "wan_vae_tiny.pth",
            twice("conv1.bias", "encoder.downsamples.999999999.shortcut.bias"),
            "down_blocks.11.conv1.weight is missing",
        ),
        ("wan_vae_tiny.pth", twice("conv1.bias", "encoder.downsamples.0.residual.4.bias"), "residual.4.bias has no place"),
        ("wan_vae_tiny.pth", twice("conv1.bias", "decoder.middle.7.proj.bias"), "decoder.middle.7.proj.bias has no place"),
        ("wan_vae_tiny.pth", twice("conv1.bias", "conv1.weight"), "quant_conv.weight has shape"),
        ("wan_vae_tiny.pth", twice("conv1.bias", "encoder.conv1.weight"), "expected that of a convolution"),
        ("wan_vae_tiny.pth", twice("conv1.weight", "decoder.conv1.weight"), "the latents have 32 channels"),
        (
            "ltx2_vae_tiny.safetensors",
            without(LTX + "2.res_blocks.0.conv1.conv.weight"),
            "resnets.0.conv1.conv.weight is missing",
        ),
        ("ltx2_vae_tiny.safetensors", without("vae.encoder.conv_out.conv.bias"), "encoder.conv_out.conv.bias is missing"),
        ("ltx2_vae_tiny.safetensors", without("vae.per_channel_statistics.std-of-means"), "latents_std is missing"),
        ("ltx2_vae_tiny.safetensors", without(LTX + "5.conv.conv.weight"), "which is neither LTX-2's nor LTX-2.3's"),
        ("ltx2_vae_tiny.safetensors", twice(LTX + "1.conv.conv.bias", "vae.decoder.x.bias"), "decoder.x.bias has no place"),
        ("ltx2_vae_tiny.safetensors", twice(LTX + "1.conv.conv.bias", LTX + "1.conv.conv.weight"), "that of a convolution"),
    ],
)
def test_faults_are_named(tmp_path, tool_data, name, change, message):
    tensors = safetensors_file.load(tool_data / name)[0] if name.endswith("safetensors") else files.load(tool_data / name).tensors
    change(tensors)
    save(tmp_path / "x.safetensors", tensors)
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        convert_vae(tmp_path / "x.safetensors", tmp_path / "out")


def test_unknown_names_are_refused():
    for name in (
        "encoder.middle.1.to_k.weight",
        "decoder.downsamples.0.residual.2.weight",
        "encoder.head.1.weight",
        "conv3.bias",
    ):
        with pytest.raises(KeyError):
            wan_vae.convert_name(name, 4)
    for name in ("decoder.up_blocks.0.conv.weight", "encoder.conv_mid.conv.bias", "decoder.last_time_embedder.weight"):
        with pytest.raises(KeyError):
            ltx2_vae.convert_name(name)
    assert wan_vae.convert_name("decoder.upsamples.11.time_conv.bias", 4) == "decoder.up_blocks.2.upsamplers.0.time_conv.bias"
    assert ltx2_vae.convert_name("encoder.down_blocks.7.conv.conv.bias") == "encoder.down_blocks.3.downsamplers.0.conv.conv.bias"


def test_what_is_no_vae_is_told_apart(tmp_path, tool_data, parity_data):
    with pytest.raises(ValueError, match=r"no VAE of Wan 2\.1 or LTX-2; its tensors begin with \['attention_y_norm"):
        convert_vae(tool_data / "nvlabs_tiny.pth", tmp_path)
    with pytest.raises(ValueError, match="copy its folder with --parts-from"):
        convert_vae(parity_data / "models" / "vae" / "vae" / "diffusion_pytorch_model.safetensors", tmp_path)


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert", *map(str, arguments)])
    return converter.main()


def test_main_names_the_file_at_fault(tmp_path, tool_data, monkeypatch, capsys):
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 20)
    good = tool_data / "wan_vae_tiny.pth"
    assert run_main(monkeypatch, "--vae", good, "--out", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "model_index.json").exists()
    assert run_main(monkeypatch, "--vae", tmp_path / "bad.safetensors", "--out", tmp_path / "out") == 1
    assert "bad.safetensors: is no safetensors file" in capsys.readouterr().err
    assert run_main(monkeypatch, tmp_path / "bad.safetensors", "--vae", good, "--out", tmp_path / "out") == 1
    assert "bad.safetensors: is no safetensors file" in capsys.readouterr().err
    assert run_main(monkeypatch, "--vae", tmp_path / "gone.pth", "--out", tmp_path / "out") == 1
    assert "gone.pth" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_main(monkeypatch, "--out", tmp_path / "out")


def test_float8_is_not_taken_for_numbers(tmp_path, tool_data):
    tensors = safetensors_file.load(tool_data / "ltx2_vae_tiny.safetensors")[0]
    path = tmp_path / "x.safetensors"
    save(path, tensors)

    def change(header):
        entry = header["vae.decoder.conv_in.conv.bias"]
        return header | {"vae.decoder.conv_in.conv.bias": {**entry, "dtype": "F8_E4M3", "shape": [16]}}

    rewrite_header(path, change)
    with pytest.raises(ValueError, match=r"decoder\.conv_in\.conv\.bias"):
        convert_vae(path, tmp_path, "float32")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[]", "no JSON object"),
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":1,"a":2}', "a key is there twice"),
        (b'{"a":7}', "a has no dtype"),
        (b'{"__metadata__":{"a":1}}', "__metadata__ does not map"),
        (b'{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}', "the type 'F4'"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', "a shape that is not"),
        (b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', "a shape that is not"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}', "data_offsets that are not"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "outside the file's 4 bytes"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', "not what its shape needs"),
        (b'{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}', "not what its shape needs"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', "outside"),
        (b"{}", "holds no tensors"),
    ],
)
def test_malformed_safetensors_are_refused(tmp_path, header, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=message):
        files.load(path)


def test_truncated_safetensors_are_refused(tmp_path, tool_data):
    whole = (tool_data / "ltx2_vae_tiny.safetensors").read_bytes()
    path = tmp_path / "x.safetensors"
    for keep in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError):
            files.load(path)


def test_data_need_not_be_aligned(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} '
    assert len(header) % 4 != 0
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.array([1.5, -2], np.float32).tobytes())
    assert files.load(path).tensors["a"].bits().tolist() == [1.5, -2]
