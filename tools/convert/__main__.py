"""Converts an original NVlabs SANA-Video or LongSANA checkpoint to a model folder.

    python -m tools.convert CHECKPOINT.pth --out DIR [--sampler few_step|bidirectional]
        [--head-dim 112] [--cross-head-dim N] [--dtype keep|float32|float16|bfloat16]
        [--prompt-prefix FILE] [--parts-from FOLDER]

The transformer is read from the checkpoint, nested under `generator`, `generator_ema`, `state_dict`, `state_dict_ema`
or `model` or not, with a prefix `model.` or not; its configuration follows from the tensors' shapes, but for the head
widths. longtake.json says what the folder is: few_step makes a LongSANA folder, bidirectional a SANA-Video folder with
the scheduler of the published ones. The instruction prefix is the family's own unless --prompt-prefix gives another.
The other parts (vae, text_encoder, tokenizer) are copied from a folder in diffusers' layout. Needs numpy.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tools import tensor_lists
from tools.convert import keys, pth
from tools.make_model import FEW_STEP, LIBRARIES, SCHEDULER, SHARD_BYTES, STORAGE, TRANSFORMER
from tools.safetensors_stream import TensorSpec, encode, write_part

_NESTS = ("generator_ema", "generator", "state_dict_ema", "state_dict", "model")
_COPIED = ("vae", "text_encoder", "tokenizer")
_MOST_LAYERS = 1024  # as the engine
# Of LongSANA's settings those that a reader of the folder looks for; the family has the rest.
_LONGSANA = {"family": "longsana", "sampler": "few_step"} | {
    name: FEW_STEP[name] for name in ("timesteps", "shift", "block_latent_frames", "fps", "caption_tokens", "motion_score")
}


def find_weights(saved: object) -> dict[str, pth.StoredTensor]:
    """The transformer's tensors by their original names."""
    while isinstance(saved, Mapping):
        inner = [saved[key] for key in _NESTS if isinstance(saved.get(key), Mapping)]
        if not inner:
            break
        saved = inner[0]
    if not isinstance(saved, Mapping):
        raise ValueError("the checkpoint holds no dictionary of tensors")
    tensors = {k.removeprefix("model."): v for k, v in saved.items() if isinstance(v, pth.StoredTensor)}
    if not tensors:
        raise ValueError(f"the checkpoint holds no tensors; its keys begin with {sorted(map(str, saved))[:5]}")
    return tensors


def rename(tensors: dict[str, pth.StoredTensor]) -> dict[str, tuple[pth.StoredTensor, int, int]]:
    """diffusers' name -> (original tensor, part, parts), where parts are equal pieces along the first axis."""
    renamed = {}
    for name, tensor in tensors.items():
        try:
            targets = keys.convert(name)
        except KeyError:
            raise ValueError(f"tensor {name} has no place in the transformer") from None
        for part, target in enumerate(targets):
            if not tensor.shape or tensor.shape[0] % len(targets):
                raise ValueError(f"tensor {name} of shape {list(tensor.shape)} cannot be cut in {len(targets)}")
            renamed[target] = (tensor, part, len(targets))
    return renamed


def shape_of(entry: tuple[pth.StoredTensor, int, int]) -> tuple[int, ...]:
    tensor, _, parts = entry
    return (tensor.shape[0] // parts, *tensor.shape[1:])


def mlp_ratio(hidden: int, width: int) -> float:
    """The smallest float whose product with the width, cut to a whole number as every reader does, is `hidden`."""
    ratio = hidden / width
    while int(ratio * width) < hidden:
        ratio = math.nextafter(ratio, math.inf)
    return ratio


def infer_config(renamed: dict, head_dim: int, cross_head_dim: int) -> dict:
    """The transformer's config.json. ValueError names a tensor that is missing."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        return shape_of(renamed[name])

    patch = shape("patch_embedding.weight")
    if len(patch) not in (4, 5) or min(patch) < 1:
        raise ValueError(f"tensor patch_embedding.weight has shape {list(patch)}, expected that of a convolution")
    width = patch[0]
    cross = shape("transformer_blocks.0.attn2.to_q.weight")[0]
    layers = 1 + max(int(name.split(".")[1]) for name in renamed if name.startswith("transformer_blocks."))
    if layers > _MOST_LAYERS:
        raise ValueError(f"there are tensors of layer {layers - 1}; the most layers are {_MOST_LAYERS}")
    if width % head_dim:
        raise ValueError(f"--head-dim {head_dim} does not divide the width {width}")
    if cross % cross_head_dim:
        raise ValueError(f"--cross-head-dim {cross_head_dim} does not divide the cross-attention's width {cross}")
    patch_size = [1, *patch[2:]] if len(patch) == 4 else list(patch[2:])
    return {
        **TRANSFORMER,
        "in_channels": patch[1],
        "out_channels": shape("proj_out.weight")[0] // int(np.prod(patch_size)),
        "num_attention_heads": width // head_dim,
        "attention_head_dim": head_dim,
        "num_layers": layers,
        "num_cross_attention_heads": cross // cross_head_dim,
        "cross_attention_head_dim": cross_head_dim,
        "cross_attention_dim": width,
        "caption_channels": shape("caption_projection.linear_1.weight")[1],
        "mlp_ratio": mlp_ratio(shape("transformer_blocks.0.ff.conv_inverted.weight")[0] // 2, width),
        "attention_bias": "transformer_blocks.0.attn1.to_q.bias" in renamed,
        "patch_size": patch_size,
        "qk_norm": "rms_norm_across_heads" if "transformer_blocks.0.attn1.norm_q.weight" in renamed else None,
        "sample_size": 30 if patch_size[1] == 2 else 22,
    }


def _stored(entry: tuple[pth.StoredTensor, int, int], dtype: str) -> np.ndarray:
    """The bytes of one part of a tensor in the storage type asked for."""
    tensor, part, parts = entry
    rows = tensor.shape[0] // parts
    bits = tensor.bits()[part * rows : (part + 1) * rows]
    if tensor.dtype == dtype:
        return bits
    if tensor.dtype == "BF16":
        return encode((bits.astype(np.uint32) << 16).view(np.float32), dtype)
    return encode(bits.astype(np.float32), dtype)


def write_transformer(folder: Path, renamed: dict, config: dict, dtype: str, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes transformer/. ValueError names a tensor that is missing, superfluous or of a wrong shape."""
    expected = dict(tensor_lists.transformer(config))
    for name in renamed:
        if name not in expected:
            raise ValueError(f"tensor {name} is superfluous")
    specs = []
    for name, shape in expected.items():
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        actual = shape_of(renamed[name])
        # Linear layers are 1x1 convolutions in some versions and the reverse: the same numbers.
        if [n for n in actual if n != 1] != [n for n in shape if n != 1]:
            raise ValueError(f"tensor {name} has shape {list(actual)}, expected {list(shape)}")
        stored = renamed[name][0].dtype if dtype == "keep" else STORAGE[dtype]
        if stored not in STORAGE.values():
            raise ValueError(f"tensor {name} is of type {stored}; ask for a --dtype")
        specs.append(TensorSpec(name, shape, stored))
    write_part(
        folder / "transformer",
        "diffusion_pytorch_model",
        specs,
        lambda spec: _stored(renamed[spec.name], spec.dtype),
        shard_bytes,
    )
    (folder / "transformer" / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _library(folder: Path, part: str) -> list[str]:
    """The entry of model_index.json of a part that lies in the folder."""
    config = folder / part / "config.json"
    library, name = LIBRARIES[part]
    told = json.loads(config.read_text()) if config.is_file() else {}
    return [library, told.get("_class_name", name)]


def convert(
    checkpoint: Path,
    out: Path,
    sampler: str = "few_step",
    head_dim: int = 112,
    cross_head_dim: int | None = None,
    dtype: str = "keep",
    prompt_prefix: str = "",
    parts_from: Path | None = None,
) -> None:
    renamed = rename(find_weights(pth.load(checkpoint)))
    config = infer_config(renamed, head_dim, cross_head_dim or head_dim)
    out.mkdir(parents=True, exist_ok=True)
    write_transformer(out, renamed, config, dtype)
    index = {
        "_class_name": "SanaVideoPipeline",
        "_diffusers_version": "0.36.0",
        "transformer": LIBRARIES["transformer"],
    }
    for part in _COPIED:
        if parts_from and (parts_from / part).is_dir():
            shutil.copytree(parts_from / part, out / part, dirs_exist_ok=True)
            index[part] = _library(out, part)
    if sampler == "few_step":
        settings = dict(_LONGSANA)
    else:
        settings = {"sampler": "flow_dpm_solver"}
        (out / "scheduler").mkdir(exist_ok=True)
        (out / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
        index["scheduler"] = LIBRARIES["scheduler"]
    if prompt_prefix:
        settings["prompt_prefix"] = prompt_prefix
    (out / "longtake.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sampler", choices=["few_step", "bidirectional"], default="few_step")
    parser.add_argument("--head-dim", type=int, default=112)
    parser.add_argument("--cross-head-dim", type=int, help="of the cross-attention; as --head-dim where not given")
    parser.add_argument("--dtype", choices=["keep", *STORAGE], default="keep")
    parser.add_argument("--prompt-prefix", type=Path, help="text that goes in front of every prompt; default: the family's")
    parser.add_argument("--parts-from", type=Path, help="folder with vae, text_encoder, tokenizer")
    arguments = parser.parse_args()
    try:
        prefix = arguments.prompt_prefix.read_text() if arguments.prompt_prefix else ""
        convert(
            arguments.checkpoint,
            arguments.out,
            arguments.sampler,
            arguments.head_dim,
            arguments.cross_head_dim,
            arguments.dtype,
            prefix,
            arguments.parts_from,
        )
    except (ValueError, OSError, MemoryError) as error:
        print(f"{arguments.checkpoint}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
