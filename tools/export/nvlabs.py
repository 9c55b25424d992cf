"""Writes a checkpoint as NVlabs' code saves it, from a transformer folder: the fixture of the converter's test.

    python -m tools.export.nvlabs --transformer FOLDER --out FILE.pth

The tensors are read by diffusers and saved by torch, so that the converter is tested on what torch really writes.
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import torch
from diffusers import SanaVideoTransformer3DModel

_TOP = {
    "patch_embedding": "x_embedder.proj",
    "caption_projection.linear_1": "y_embedder.y_proj.fc1",
    "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_embed.linear": "t_block.1",
    "proj_out": "final_layer.linear",
}


def original(model: SanaVideoTransformer3DModel) -> OrderedDict:
    """The model's tensors under their original names."""
    own = model.state_dict()
    names = OrderedDict()
    for target, source in _TOP.items():
        for leaf in ("weight", "bias"):
            names[f"{source}.{leaf}"] = own[f"{target}.{leaf}"]
    names["attention_y_norm.weight"] = own["caption_norm.weight"]
    names["final_layer.scale_shift_table"] = own["scale_shift_table"]
    for index, block in enumerate(model.transformer_blocks):
        base = f"blocks.{index}"
        self_attention, cross, ff = block.attn1, block.attn2, block.ff
        projections = [self_attention.to_q, self_attention.to_k, self_attention.to_v]
        names[f"{base}.scale_shift_table"] = block.scale_shift_table
        names[f"{base}.attn.qkv.weight"] = torch.cat([p.weight for p in projections])
        if self_attention.to_q.bias is not None:
            names[f"{base}.attn.qkv.bias"] = torch.cat([p.bias for p in projections])
        for attention, prefix in ((self_attention, "attn"), (cross, "cross_attn")):
            if attention.norm_q is not None:
                names[f"{base}.{prefix}.q_norm.weight"] = attention.norm_q.weight
                names[f"{base}.{prefix}.k_norm.weight"] = attention.norm_k.weight
            names[f"{base}.{prefix}.proj.weight"] = attention.to_out[0].weight
            names[f"{base}.{prefix}.proj.bias"] = attention.to_out[0].bias
        for leaf in ("weight", "bias"):
            names[f"{base}.cross_attn.q_linear.{leaf}"] = getattr(cross.to_q, leaf)
            names[f"{base}.cross_attn.kv_linear.{leaf}"] = torch.cat([getattr(p, leaf) for p in (cross.to_k, cross.to_v)])
            names[f"{base}.mlp.inverted_conv.conv.{leaf}"] = getattr(ff.conv_inverted, leaf)
            names[f"{base}.mlp.depth_conv.conv.{leaf}"] = getattr(ff.conv_depth, leaf)
        names[f"{base}.mlp.point_conv.conv.weight"] = ff.conv_point.weight
        names[f"{base}.mlp.t_conv.weight"] = ff.conv_temp.weight
    names["y_embedder.y_embedding"] = torch.zeros(3, 4)
    names["pos_embed"] = torch.zeros(1, 4, 2)
    names["logvar_linear.weight"] = torch.zeros(1, 4)
    return OrderedDict((key, value.detach().clone()) for key, value in names.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transformer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = SanaVideoTransformer3DModel.from_pretrained(arguments.transformer, torch_dtype=torch.bfloat16)
    weights = OrderedDict((f"model.{key}", value) for key, value in original(model).items())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # What surrounds the weights in a training checkpoint, with an object that the reader does not know.
    torch.save({"generator": weights, "step": 1200, "path": Path("somewhere")}, arguments.out)


if __name__ == "__main__":
    main()
