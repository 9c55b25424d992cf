"""SANA-Video 2.0's transformer: the tensors keep NVlabs' names, since diffusers has no class for it."""

import re

from tools import tensor_lists
from tools.convert.pth import StoredTensor
from tools.convert.tensors import Renamed, shape_of

_DROPPED = re.compile(r"y_embedder\.y_embedding|pos_embed")
# What no tensor shows: the values of the published 5B model.
_SOFTMAX_HEAD_DIM = 256
_CROSS_HEAD_DIM = 128
_RESIDUAL_BLOCK = 8
# longtake.json of the model that was distilled to four steps, beside the family's settings. It makes videos from text alone.
FOUR_STEPS = {
    "sampler": "flow_lcm",
    "sigmas": [0.9998332262, 0.9471688271, 0.8568977118, 0.6663702130],
    "guidance": 1.0,
    "first_image": "none",
}


def recognize(names: set[str]) -> bool:
    return "attn_res.final_proj.weight" in names


def rename(tensors: dict[str, StoredTensor]) -> Renamed:
    return {name: (tensor, 0, 1) for name, tensor in tensors.items() if not _DROPPED.fullmatch(name)}


def infer_config(renamed: Renamed, most_layers: int) -> dict:
    """The transformer's config.json. ValueError names a tensor that is missing or does not fit."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        return shape_of(renamed[name])

    patch = shape("x_embedder.proj.weight")
    if len(patch) != 5 or min(patch) < 1:
        raise ValueError(f"tensor x_embedder.proj.weight has shape {list(patch)}, expected that of a 3-D convolution")
    width = patch[0]
    blocks = [re.match(r"blocks\.(\d{1,9})\.", name) for name in renamed]
    layers = 1 + max((int(match[1]) for match in blocks if match), default=-1)
    if not 0 < layers <= most_layers:
        raise ValueError(f"there are tensors of layer {layers - 1}; the most layers are {most_layers}")
    linear = [layer for layer in range(layers) if f"blocks.{layer}.attn.beta_proj.weight" in renamed]
    softmax = sorted(set(range(layers)) - set(linear))
    if not linear or not softmax or softmax != tensor_lists.softmax_layers(layers, len(softmax)):
        raise ValueError(f"layers {softmax} have no attn.beta_proj; softmax layers are evenly spread")
    heads = shape(f"blocks.{linear[0]}.attn.beta_proj.weight")[0]
    for what, part in [("attn.beta_proj", heads), ("heads", _SOFTMAX_HEAD_DIM), ("heads", _CROSS_HEAD_DIM)]:
        if not part or (width % part):
            raise ValueError(f"the width {width} is no multiple of {part} ({what})")
    return {
        "_class_name": "SanaVideo2",
        "layers": layers,
        "width": width,
        "linear_head_dim": width // heads,
        "softmax_head_dim": _SOFTMAX_HEAD_DIM,
        "cross_heads": width // _CROSS_HEAD_DIM,
        "softmax_ratio": len(softmax) / layers,
        "ffn_ratio": shape("blocks.0.mlp.gate_proj.weight")[0] // width,
        "residual_block": _RESIDUAL_BLOCK,
        "channels": patch[1],
        "caption_channels": shape("y_embedder.y_proj.fc1.weight")[1],
        "patch_size": list(patch[2:]),
    }
