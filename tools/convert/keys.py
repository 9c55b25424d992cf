"""Original names of the transformer's tensors -> diffusers' names."""

import re

_TOP = {
    "x_embedder.proj": "patch_embedding",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "t_embedder.mlp.0": "time_embed.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_embed.emb.timestep_embedder.linear_2",
    "t_block.1": "time_embed.linear",
    "attention_y_norm": "caption_norm",
    "final_layer.linear": "proj_out",
}

# Several targets: the tensor is cut along its first axis into as many equal parts.
_BLOCK = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.q_norm": ("attn1.norm_q",),
    "attn.k_norm": ("attn1.norm_k",),
    "attn.proj": ("attn1.to_out.0",),
    "cross_attn.q_linear": ("attn2.to_q",),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.q_norm": ("attn2.norm_q",),
    "cross_attn.k_norm": ("attn2.norm_k",),
    "cross_attn.proj": ("attn2.to_out.0",),
    "mlp.inverted_conv.conv": ("ff.conv_inverted",),
    "mlp.depth_conv.conv": ("ff.conv_depth",),
    "mlp.point_conv.conv": ("ff.conv_point",),
    "mlp.t_conv": ("ff.conv_temp",),
}

_DROPPED = re.compile(r"y_embedder\.y_embedding|pos_embed|logvar_linear\..*")
_BLOCK_NAME = re.compile(r"blocks\.(\d+)\.(.+)")


def convert(name: str) -> tuple[str, ...]:
    """The diffusers names of an original tensor, () where it is dropped. KeyError on a name that is not known."""
    if _DROPPED.fullmatch(name):
        return ()
    if name == "final_layer.scale_shift_table":
        return ("scale_shift_table",)
    match = _BLOCK_NAME.fullmatch(name)
    if match and match[2] == "scale_shift_table":
        return (f"transformer_blocks.{match[1]}.scale_shift_table",)
    stem, _, leaf = (match[2] if match else name).rpartition(".")
    if match:
        return tuple(f"transformer_blocks.{match[1]}.{target}.{leaf}" for target in _BLOCK[stem])
    return (f"{_TOP[stem]}.{leaf}",)
