"""Writes small VAEs as Wan's and LTX's own files, and what diffusers saves of them: the fixtures of the converter's test.

    python -m tools.export.original_vae --out tests/tools/data

NAME.json holds diffusers' config.json, and of each tensor that it saves the type, the shape and the SHA-256 of its bytes.
The names of the original files are written down here the other way round than in tools/convert, from diffusers' modules;
`--against-nvlabs FOLDER` (NVlabs' Sana repository) compares Wan's with those of its own class. Needs torch, diffusers.
"""

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import types
from collections import OrderedDict
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_ltx2_vae_to_diffusers
from safetensors.torch import save_file

from tools import safetensors_stream
from tools.export.weights import randomize

WAN = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 2}
LTX2 = {
    "latent_channels": 4,
    "block_out_channels": [4, 4, 8, 8],
    "decoder_block_out_channels": [2, 4, 8],
    "layers_per_block": [1, 2, 1, 1, 2],
    "decoder_layers_per_block": [1, 2, 1, 2],
    "decoder_causal": False,
    "spatial_compression_ratio": 32,
    "temporal_compression_ratio": 8,
}
LTX23 = {
    **LTX2,
    "decoder_block_out_channels": [2, 4, 4, 8],
    "decoder_layers_per_block": [1, 2, 1, 1, 2],
    "upsample_type": ["spatiotemporal", "spatiotemporal", "temporal", "spatial"],
    "upsample_residual": [False] * 4,
    "upsample_factor": [2, 2, 1, 2],
    "decoder_inject_noise": [False] * 5,
    "decoder_spatio_temporal_scaling": [True] * 4,
    "decoder_spatial_padding_mode": "zeros",
}
_BLOCK = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6", "conv_shortcut": "shortcut"}


def _wan_block(original: str, block: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Original name -> layer, of a residual block, an attention or a resampler."""
    if hasattr(block, "to_qkv"):
        return {f"{original}.{name}": getattr(block, name) for name in ("norm", "to_qkv", "proj")}
    if hasattr(block, "resample"):
        names = {f"{original}.resample.1": block.resample[1]}
        return names | ({f"{original}.time_conv": block.time_conv} if hasattr(block, "time_conv") else {})
    return {f"{original}.{theirs}": getattr(block, own) for own, theirs in _BLOCK.items() if hasattr(block, own)}


def original_wan(model: AutoencoderKLWan) -> OrderedDict:
    layers = {"conv1": model.quant_conv, "conv2": model.post_quant_conv}
    for side, half in (("encoder", model.encoder), ("decoder", model.decoder)):
        layers |= {f"{side}.conv1": half.conv_in, f"{side}.head.0": half.norm_out, f"{side}.head.2": half.conv_out}
        middle = [half.mid_block.resnets[0], half.mid_block.attentions[0], half.mid_block.resnets[1]]
        for index, block in enumerate(middle):
            layers |= _wan_block(f"{side}.middle.{index}", block)
    for index, block in enumerate(model.encoder.down_blocks):
        layers |= _wan_block(f"encoder.downsamples.{index}", block)
    stages = [[*stage.resnets, *(stage.upsamplers or [])] for stage in model.decoder.up_blocks]
    for index, block in enumerate(block for stage in stages for block in stage):
        layers |= _wan_block(f"decoder.upsamples.{index}", block)
    tensors = OrderedDict()
    for name, layer in layers.items():
        # diffusers' identity has no parameters where a block keeps its width.
        tensors.update({f"{name}.{leaf}": value.detach().clone() for leaf, value in layer.named_parameters()})
    return tensors


def original_ltx2(model: AutoencoderKLLTX2Video) -> dict[str, torch.Tensor]:
    own = model.state_dict()
    tensors = {
        "vae.per_channel_statistics.mean-of-means": own.pop("latents_mean"),
        "vae.per_channel_statistics.std-of-means": own.pop("latents_std"),
    }
    blocks = {"encoder.mid_block": "encoder.down_blocks.8", "decoder.mid_block": "decoder.up_blocks.0"}
    for index in range(4):
        blocks[f"encoder.down_blocks.{index}.resnets"] = f"encoder.down_blocks.{2 * index}.resnets"
        blocks[f"encoder.down_blocks.{index}.downsamplers.0"] = f"encoder.down_blocks.{2 * index + 1}"
        blocks[f"decoder.up_blocks.{index}.upsamplers.0"] = f"decoder.up_blocks.{2 * index + 1}"
        blocks[f"decoder.up_blocks.{index}.resnets"] = f"decoder.up_blocks.{2 * index + 2}.resnets"
    for name, value in own.items():
        prefix = next((p for p in blocks if name.startswith(p + ".")), None)
        original = name if prefix is None else blocks[prefix] + name.removeprefix(prefix)
        tensors["vae." + original.replace(".resnets.", ".res_blocks.")] = value
    # What else lies in LTX's files.
    tensors["vae.per_channel_statistics.mean-of-stds"] = torch.zeros(4)
    tensors["model.diffusion_model.patchify_proj.weight"] = torch.zeros(2, 2)
    return {name: value.contiguous() for name, value in tensors.items()}


def _compare_with_nvlabs(sana: Path) -> None:
    sys.modules["tools.download"] = types.SimpleNamespace(find_model=None)
    spec = importlib.util.spec_from_file_location("vae", sana / "diffusion" / "model" / "wan" / "vae.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.device("meta"):
        theirs = module.WanVAE_(
            dim=96, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[], temperal_downsample=[False, True, True]
        )
        ours = original_wan(AutoencoderKLWan())
    shapes = {name: tuple(t.shape) for name, t in ours.items()}
    if shapes != {name: tuple(t.shape) for name, t in theirs.state_dict().items()}:
        raise ValueError("the names of Wan's file are not those of NVlabs' class")
    print(f"{len(shapes)} tensors have the names and shapes of NVlabs' class")


def _compare_with_diffusers(original: dict[str, torch.Tensor], model: AutoencoderKLLTX2Video) -> None:
    """diffusers reads LTX-2's (not LTX-2.3's) own files itself."""
    read = convert_ltx2_vae_to_diffusers({name: t for name, t in original.items() if name.startswith("vae.")})
    own = model.state_dict()
    if read.keys() != own.keys() or not all(torch.equal(read[name], own[name]) for name in own):
        raise ValueError("the names of LTX-2's file are not those that diffusers reads")


def _save_expected(model: torch.nn.Module, path: Path) -> None:
    """What diffusers saves of the model."""
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        config = json.loads((Path(scratch) / "config.json").read_text())
        file = Path(scratch) / "diffusion_pytorch_model.safetensors"
        tensors = {
            name: [entry["dtype"], entry["shape"], hashlib.sha256(safetensors_stream.read_bytes(file, name)).hexdigest()]
            for name, entry in safetensors_stream.read_header(file).items()
        }
    path.write_text(json.dumps({"config": config, "tensors": tensors}, indent=0, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against-nvlabs", type=Path)
    arguments = parser.parse_args()
    if arguments.against_nvlabs:
        _compare_with_nvlabs(arguments.against_nvlabs)
    arguments.out.mkdir(parents=True, exist_ok=True)

    wan = randomize(AutoencoderKLWan(**WAN), 1).to(torch.bfloat16)
    _save_expected(wan, arguments.out / "wan_vae_tiny.json")
    torch.save(original_wan(wan), arguments.out / "wan_vae_tiny.pth")
    for name, config in (("ltx2_vae_tiny", LTX2), ("ltx23_vae_tiny", LTX23)):
        model = AutoencoderKLLTX2Video(**config)
        generator = torch.Generator().manual_seed(3)
        model.latents_mean.normal_(generator=generator)
        model.latents_std.uniform_(0.5, 2, generator=generator)
        model = randomize(model, 2).to(torch.bfloat16)
        _save_expected(model, arguments.out / f"{name}.json")
        if name == "ltx2_vae_tiny":
            _compare_with_diffusers(original_ltx2(model), model)
        said = json.dumps({"vae": {"_class_name": "CausalVideoAutoencoder", "causal_decoder": False}})
        save_file(original_ltx2(model), arguments.out / f"{name}.safetensors", metadata={"config": said})


if __name__ == "__main__":
    main()
