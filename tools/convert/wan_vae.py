"""Wan 2.1's own VAE file (Wan2.1_VAE.pth) -> diffusers' AutoencoderKLWan."""

import re

from tools import tensor_lists
from tools.convert.files import Checkpoint
from tools.convert.pth import StoredTensor
from tools.convert.tensors import Renamed, shape_of
from tools.make_model import VAE

# Of the latents, by which Wan's code normalizes them; the file does not hold them.
LATENTS_MEAN = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
]  # fmt: skip
LATENTS_STD = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
]  # fmt: skip

_FIXED = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_ENDS = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_RESIDUAL = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_INNER = {"norm", "to_qkv", "proj", "resample.1", "time_conv"}
_STAGE = re.compile(r"(middle|downsamples|upsamples)\.(\d+)\.(.+)")


def recognize(names: set[str]) -> bool:
    return "decoder.middle.0.residual.0.gamma" in names


def convert_name(name: str, layers: int) -> str:
    """diffusers' name. A stage of the decoder has `layers` layers, its upsampler included. KeyError where there is none."""
    stem, _, leaf = name.rpartition(".")
    if stem in _FIXED:
        return f"{_FIXED[stem]}.{leaf}"
    side, _, rest = stem.partition(".")
    if side not in ("encoder", "decoder"):
        raise KeyError(name)
    if rest in _ENDS:
        return f"{side}.{_ENDS[rest]}.{leaf}"
    match = _STAGE.fullmatch(rest)
    if match is None:
        raise KeyError(name)
    kind, number, inner = match[1], int(match[2]), match[3]
    inner = _RESIDUAL[inner] if inner not in _INNER else inner
    if kind == "middle":
        return f"{side}.mid_block.{_MIDDLE[match[2]]}.{inner}.{leaf}"
    if kind == "downsamples" and side == "encoder":
        return f"encoder.down_blocks.{number}.{inner}.{leaf}"
    if kind == "upsamples" and side == "decoder":
        stage, at = divmod(number, layers)
        return f"decoder.up_blocks.{stage}.{f'resnets.{at}' if at < layers - 1 else 'upsamplers.0'}.{inner}.{leaf}"
    raise KeyError(name)


def _rename(tensors: dict[str, StoredTensor]) -> Renamed:
    upsamplers = [int(m[1]) for m in (re.fullmatch(r"decoder\.upsamples\.(\d+)\.resample\.1\.weight", n) for n in tensors) if m]
    if not upsamplers:
        raise ValueError("tensor decoder.upsamples.N.resample.1.weight is missing")
    renamed = {}
    for name, tensor in tensors.items():
        try:
            renamed[convert_name(name, 1 + min(upsamplers))] = (tensor, 0, 1)
        except KeyError:
            raise ValueError(f"tensor {name} has no place in Wan 2.1's VAE") from None
    return renamed


def infer_config(renamed: Renamed) -> dict:
    """config.json of the shapes. ValueError names a tensor that is missing or a width that does not fit."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        if len(shape_of(renamed[name])) < 2:
            raise ValueError(f"tensor {name} has shape {list(shape_of(renamed[name]))}, expected that of a convolution")
        return shape_of(renamed[name])

    base = shape("encoder.conv_in.weight")[0]
    widths: list[list[int]] = [[]]  # of the residual blocks, by stage
    time = []
    blocks = {int(name.split(".")[2]) for name in renamed if name.startswith("encoder.down_blocks.")}
    for index in range(len(blocks)):  # they are numbered through
        block = f"encoder.down_blocks.{index}"
        if f"{block}.resample.1.weight" in renamed:
            time.append(f"{block}.time_conv.weight" in renamed)
            widths.append([])
        else:
            widths[-1].append(shape(f"{block}.conv1.weight")[0])
    counts = {len(stage) for stage in widths}
    if len(counts) != 1 or 0 in counts or base < 1 or any(len(set(stage)) != 1 or stage[0] % base for stage in widths):
        raise ValueError(f"the encoder's stages have the widths {widths}, which are none of Wan 2.1's VAE of base {base}")
    channels = shape("decoder.conv_in.weight")[1]
    if channels != len(LATENTS_MEAN):
        raise ValueError(f"the latents have {channels} channels; mean and deviation are known for {len(LATENTS_MEAN)}")
    return {
        **VAE,
        "base_dim": base,
        "dim_mult": [stage[0] // base for stage in widths],
        "in_channels": shape("encoder.conv_in.weight")[1],
        "latents_mean": LATENTS_MEAN,
        "latents_std": LATENTS_STD,
        "num_res_blocks": counts.pop(),
        "out_channels": shape("decoder.conv_out.weight")[0],
        "scale_factor_spatial": 2 ** len(time),
        "scale_factor_temporal": 2 ** sum(time),
        "temperal_downsample": time,
        "z_dim": channels,
    }


def convert(checkpoint: Checkpoint) -> tuple[Renamed, list, dict]:
    """The tensors under diffusers' names, the names and shapes that there must be, config.json."""
    renamed = _rename(checkpoint.tensors)
    config = infer_config(renamed)
    return renamed, list(tensor_lists.vae(config)), config
