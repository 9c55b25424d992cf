"""Converts original files, a NVlabs SANA-Video, LongSANA or SANA-Video 2.0 checkpoint and Wan's or LTX-2's VAE, to a
model folder.

    python -m tools.convert CHECKPOINT --out DIR [--sampler few_step|bidirectional|flow_lcm]
        [--head-dim 112] [--cross-head-dim N] [--dtype keep|float32|float16|bfloat16]
        [--prompt-prefix FILE] [--parts-from FOLDER] [--vae FILE]
    python -m tools.convert --vae FILE --out DIR    # only vae/

The transformer is read from the checkpoint (.pth, .bin or .safetensors), nested under `generator`, `generator_ema`,
`state_dict`, `state_dict_ema` or `model` or not, with prefixes `model.` and `module.` or not; its configuration follows
from the tensors' shapes, but for the head widths. longtake.json says what the folder is: few_step makes a LongSANA
folder, bidirectional a SANA-Video folder with the scheduler of the published ones. The instruction prefix is the
family's own unless --prompt-prefix gives another. A SANA-Video 2.0 checkpoint is known by its tensors, keeps their
names, and needs no head widths; with --sampler flow_lcm the folder has the settings of its four-step model. The VAE is
read from Wan2.1_VAE.pth or from the `vae.` tensors of an LTX-2 .safetensors. The other parts (vae, text_encoder, tokenizer)
are copied from a folder in diffusers' layout. Needs numpy.
"""

import argparse
import contextlib
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools import tensor_lists
from tools.convert import files, keys, pth, sana_video2
from tools.convert.tensors import Renamed, shape_of, write_tensors
from tools.convert.vae import convert_vae
from tools.make_model import FEW_STEP, LIBRARIES, SCHEDULER, STORAGE, TRANSFORMER

_COPIED = ("vae", "text_encoder", "tokenizer")
_MOST_LAYERS = 1024  # as the engine
# Of LongSANA's settings those that a reader of the folder looks for; the family has the rest.
_LONGSANA = {"family": "longsana", "sampler": "few_step"} | {
    name: FEW_STEP[name] for name in ("timesteps", "shift", "block_latent_frames", "fps", "caption_tokens", "motion_score")
}


def rename(tensors: dict[str, pth.StoredTensor]) -> Renamed:
    """The tensors under diffusers' names."""
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


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Puts the file's name in front of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from None


def _library(folder: Path, part: str) -> list[str]:
    """The entry of model_index.json of a part that lies in the folder."""
    config = folder / part / "config.json"
    library, name = LIBRARIES[part]
    told = json.loads(config.read_text()) if config.is_file() else {}
    return [library, told.get("_class_name", name)]


def convert(
    checkpoint: Path | None,
    out: Path,
    sampler: str = "few_step",
    head_dim: int = 112,
    cross_head_dim: int | None = None,
    dtype: str = "keep",
    prompt_prefix: str = "",
    parts_from: Path | None = None,
    vae: Path | None = None,
) -> None:
    """Writes the folder; without a checkpoint only its part `vae`. ValueError names the file that is at fault."""
    if vae is not None:
        with _naming(vae):
            convert_vae(vae, out, dtype)
    if checkpoint is None:
        return
    with _naming(checkpoint):
        tensors = files.load(checkpoint).tensors
        is_2 = sana_video2.recognize(set(tensors))
        if sampler == "flow_lcm" and not is_2:
            raise ValueError("--sampler flow_lcm is for checkpoints of SANA-Video 2.0, which this is not")
        if is_2:
            renamed = sana_video2.rename(tensors)
            config = sana_video2.infer_config(renamed, _MOST_LAYERS)
            expected = tensor_lists.sana_video2(config)
        else:
            renamed = rename(tensors)
            config = infer_config(renamed, head_dim, cross_head_dim or head_dim)
            expected = tensor_lists.transformer(config)
        out.mkdir(parents=True, exist_ok=True)
        write_tensors(out / "transformer", renamed, expected, config, dtype)
    index = {
        "_class_name": "SanaVideoPipeline",
        "_diffusers_version": "0.36.0",
        "transformer": [LIBRARIES["transformer"][0], config["_class_name"]],
    }
    for part in _COPIED:
        if part == "vae" and vae is not None:
            index[part] = _library(out, part)
        elif parts_from and (parts_from / part).is_dir():
            shutil.copytree(parts_from / part, out / part, dirs_exist_ok=True)
            index[part] = _library(out, part)
    if is_2:
        settings = {"family": "sana_video_2"} | (sana_video2.FOUR_STEPS if sampler == "flow_lcm" else {})
    elif sampler == "few_step":
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
    parser.add_argument("checkpoint", type=Path, nargs="?", help="of the transformer: .pth, .bin or .safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sampler", choices=["few_step", "bidirectional", "flow_lcm"], default="few_step")
    parser.add_argument("--head-dim", type=int, default=112)
    parser.add_argument("--cross-head-dim", type=int, help="of the cross-attention; as --head-dim where not given")
    parser.add_argument("--dtype", choices=["keep", *STORAGE], default="keep")
    parser.add_argument("--prompt-prefix", type=Path, help="text that goes in front of every prompt; default: the family's")
    parser.add_argument("--parts-from", type=Path, help="folder with vae, text_encoder, tokenizer")
    parser.add_argument("--vae", type=Path, help="Wan2.1_VAE.pth, or a .safetensors of LTX-2; alone: only vae/ is written")
    arguments = parser.parse_args()
    if arguments.checkpoint is None and arguments.vae is None:
        parser.error("a CHECKPOINT or --vae is needed")
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
            arguments.vae,
        )
    except (ValueError, OSError, MemoryError) as error:
        print(f"tools.convert: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
