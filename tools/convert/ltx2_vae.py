"""The video VAE in LTX-2's and LTX-2.3's own files -> diffusers' AutoencoderKLLTX2Video."""

import json
import math
import re

from tools import tensor_lists
from tools.convert.files import Checkpoint
from tools.convert.pth import StoredTensor
from tools.convert.tensors import Renamed, shape_of

_PREFIX = "vae."
_STATISTICS = {
    "per_channel_statistics.mean-of-means": "latents_mean",
    "per_channel_statistics.std-of-means": "latents_std",
}
_BLOCK = re.compile(r"(encoder\.down_blocks|decoder\.up_blocks)\.(\d+)\.(.+)")
_LAYER = re.compile(r"(resnets\.\d+\.conv[12]|conv)\.conv\.(weight|bias)")
_END = re.compile(r"(encoder|decoder)\.conv_(in|out)\.conv\.(weight|bias)")
_ENCODER_STAGES = 4

STRIDES = {"spatial": (1, 2, 2), "temporal": (2, 1, 1), "spatiotemporal": (2, 2, 2)}
_DOWN = ["spatial", "temporal", "spatiotemporal", "spatiotemporal"]
# What no shape shows, by the decoder's kinds of upsampling: the two architectures that there are.
_DECODERS = {
    ("spatiotemporal",) * 3: {"upsample_residual": True, "decoder_spatial_padding_mode": "reflect"},
    ("spatiotemporal", "spatiotemporal", "temporal", "spatial"): {
        "upsample_residual": False,
        "decoder_spatial_padding_mode": "zeros",
    },
}


def _own(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The VAE's tensors without their prefix; LTX's files hold a transformer and more beside it."""
    own = {name.removeprefix(_PREFIX): t for name, t in tensors.items() if name.startswith(_PREFIX)}
    return own or tensors


def recognize(names: set[str]) -> bool:
    return any(name.removeprefix(_PREFIX).startswith("per_channel_statistics.") for name in names)


def convert_name(name: str) -> str | None:
    """diffusers' name, None where the tensor is dropped. KeyError where the name is not known."""
    if name.startswith("per_channel_statistics."):
        return _STATISTICS.get(name)
    if _END.fullmatch(name):
        return name
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise KeyError(name)
    side, number, rest = match[1], int(match[2]), match[3].replace("res_blocks.", "resnets.")
    if _LAYER.fullmatch(rest) is None:
        raise KeyError(name)
    if side == "encoder.down_blocks":
        if number == 2 * _ENCODER_STAGES:
            return f"encoder.mid_block.{rest}"
        return f"{side}.{number // 2}.{'downsamplers.0.' if number % 2 else ''}{rest}"
    if number == 0:
        return f"decoder.mid_block.{rest}"
    return f"{side}.{(number - 1) // 2}.{'upsamplers.0.' if number % 2 else ''}{rest}"


def _rename(tensors: dict[str, StoredTensor]) -> Renamed:
    renamed = {}
    for name, tensor in tensors.items():
        try:
            target = convert_name(name)
        except KeyError:
            raise ValueError(f"tensor {name} has no place in LTX-2's video VAE") from None
        if target is not None:
            renamed[target] = (tensor, 0, 1)
    return renamed


def _said_by(metadata: dict[str, str]) -> dict:
    """The VAE's part of the configuration that LTX's files carry; empty where there is none."""
    try:
        config = json.loads(metadata.get("config", "{}"))
    except ValueError:
        raise ValueError("the metadata's config is no JSON") from None
    said = config.get("vae", {}) if isinstance(config, dict) else {}
    return said if isinstance(said, dict) else {}


def infer_config(renamed: Renamed, said: dict) -> dict:
    """config.json of the shapes and of what the file says. ValueError names what does not fit."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        if len(shape_of(renamed[name])) != 5 or 0 in shape_of(renamed[name]):
            raise ValueError(f"tensor {name} has shape {list(shape_of(renamed[name]))}, expected that of a convolution")
        return shape_of(renamed[name])

    def layers(block: str) -> int:
        count = 0
        while f"{block}.resnets.{count}.conv1.conv.weight" in renamed:
            count += 1
        if count == 0:
            raise ValueError(f"tensor {block}.resnets.0.conv1.conv.weight is missing")
        return count

    encoder_blocks = [f"encoder.down_blocks.{i}" for i in range(_ENCODER_STAGES)]
    encoder_widths = [
        shape(f"{block}.downsamplers.0.conv.conv.weight")[0] * math.prod(STRIDES[kind])
        for block, kind in zip(encoder_blocks, _DOWN, strict=True)
    ]
    decoder_blocks = []
    while f"decoder.up_blocks.{len(decoder_blocks)}.upsamplers.0.conv.conv.weight" in renamed:
        decoder_blocks.append(f"decoder.up_blocks.{len(decoder_blocks)}")
    kinds, factors, widths = [], [], []
    width = shape("decoder.conv_in.conv.weight")[0]
    for block in decoder_blocks:
        rows = shape(f"{block}.upsamplers.0.conv.conv.weight")[0]
        after = shape(f"{block}.resnets.0.conv1.conv.weight")[0]
        positions = rows // after  # that each position becomes
        kinds.append({math.prod(stride): kind for kind, stride in STRIDES.items()}.get(positions, str(positions)))
        factors.append(width // after)
        widths.append(width)
        width = after
    if tuple(kinds) not in _DECODERS:
        raise ValueError(f"the decoder doubles {kinds}, which is neither LTX-2's nor LTX-2.3's")
    fixed = _DECODERS[tuple(kinds)]
    if said.get("timestep_conditioning", False):
        raise ValueError("the decoder is conditioned on a timestep, which is not supported")
    return {
        "_class_name": "AutoencoderKLLTX2Video",
        "_diffusers_version": "0.38.0",
        "block_out_channels": encoder_widths,
        "decoder_block_out_channels": widths[::-1],
        "decoder_causal": bool(said.get("causal_decoder", False)),  # LTX's decoders look at the next frame
        "decoder_inject_noise": [False] * (len(kinds) + 1),
        "decoder_layers_per_block": [layers(block) for block in ("decoder.mid_block", *decoder_blocks)][::-1],
        "decoder_spatial_padding_mode": fixed["decoder_spatial_padding_mode"],
        "decoder_spatio_temporal_scaling": [True] * len(kinds),
        "down_block_types": ["LTX2VideoDownBlock3D"] * _ENCODER_STAGES,
        "downsample_type": _DOWN,
        "encoder_causal": True,
        "encoder_spatial_padding_mode": "zeros",
        "in_channels": 3,
        "latent_channels": shape("decoder.conv_in.conv.weight")[1],
        "layers_per_block": [layers(block) for block in (*encoder_blocks, "encoder.mid_block")],
        "out_channels": 3,
        "patch_size": 4,
        "patch_size_t": 1,
        "resnet_norm_eps": 1e-06,
        "scaling_factor": 1.0,
        "spatial_compression_ratio": 32,
        "spatio_temporal_scaling": [True] * _ENCODER_STAGES,
        "temporal_compression_ratio": 8,
        "timestep_conditioning": False,
        "upsample_factor": factors[::-1],
        "upsample_residual": [fixed["upsample_residual"]] * len(kinds),
        "upsample_type": kinds,
    }


def convert(checkpoint: Checkpoint) -> tuple[Renamed, list, dict]:
    """The tensors under diffusers' names, the names and shapes that there must be, config.json."""
    renamed = _rename(_own(checkpoint.tensors))
    config = infer_config(renamed, _said_by(checkpoint.metadata))
    return renamed, list(tensor_lists.ltx2_vae(config)), config
