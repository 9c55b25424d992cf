"""Writes a model folder of any size with random weights, a tensor at a time, without torch.

    python -m tools.make_model --out DIR [--sampler few_step|bidirectional] [--parts transformer,vae,text_encoder]
        [--transformer JSON] [--text-encoder JSON] [--vae JSON] [--settings JSON] [--dtype bfloat16] [--tokenizer FILE]
        [--tiny-decoder taew2_1|taeltx_2]

Without further options: SANA-Video 2B, Gemma-2-2B and the Wan 2.1 VAE at their real widths, 9.6 GB in bfloat16. The
JSON options change single fields of a part's config.json (or of longtake.json); `--vae '{"_class_name":
"AutoencoderKLLTX2Video"}'` begins with LTX-2's VAE, `--transformer '{"_class_name": "SanaVideo2"}'` with SANA-Video 2.0
5B. Weights are scaled by 1/sqrt(inputs), so that activations keep their size and nothing overflows; the same seed gives
the same bytes. Needs numpy only.
"""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np

from tools import tensor_lists
from tools.safetensors_stream import TensorSpec, encode, write_part

STORAGE = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SHARD_BYTES = 2 * 10**9
# Tensors are cut from one pool of normal numbers: drawing and rounding 4.7 billion would take minutes.
POOL_VALUES = 1 << 22

TRANSFORMER = {
    "_class_name": "SanaVideoTransformer3DModel",
    "_diffusers_version": "0.36.0",
    "attention_bias": False,
    "attention_head_dim": 112,
    "caption_channels": 2304,
    "cross_attention_dim": 2240,
    "cross_attention_head_dim": 112,
    "dropout": 0.0,
    "guidance_embeds": False,
    "guidance_embeds_scale": 0.1,
    "in_channels": 16,
    "interpolation_scale": None,
    "mlp_ratio": 3.0,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-06,
    "num_attention_heads": 20,
    "num_cross_attention_heads": 20,
    "num_layers": 20,
    "out_channels": 16,
    "patch_size": [1, 2, 2],
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "sample_size": 30,
}

TEXT_ENCODER = {
    "architectures": ["Gemma2Model"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "final_logit_softcapping": 30.0,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304,
    "initializer_range": 0.02,
    "intermediate_size": 9216,
    "max_position_embeddings": 8192,
    "model_type": "gemma2",
    "num_attention_heads": 8,
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.57.1",
    "use_cache": True,
    "vocab_size": 256000,
}

VAE = {
    "_class_name": "AutoencoderKLWan",
    "_diffusers_version": "0.36.0",
    "attn_scales": [],
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "in_channels": 3,
    "is_residual": False,
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
    "num_res_blocks": 2,
    "out_channels": 3,
    "patch_size": None,
    "scale_factor_spatial": 8,
    "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}

LTX2_CLASS, LTX2_CAUSAL_CLASS = "AutoencoderKLLTX2Video", "AutoencoderKLCausalLTX2Video"
LTX2_VAE = {
    "_class_name": LTX2_CLASS,
    "_diffusers_version": "0.42.1",
    "block_out_channels": [256, 512, 1024, 2048],
    "decoder_block_out_channels": [256, 512, 1024],
    "decoder_causal": False,
    "decoder_inject_noise": [False] * 4,
    "decoder_layers_per_block": [5] * 4,
    "decoder_spatial_padding_mode": "reflect",
    "decoder_spatio_temporal_scaling": [True] * 3,
    "down_block_types": ["LTX2VideoDownBlock3D"] * 4,
    "downsample_type": ["spatial", "temporal", "spatiotemporal", "spatiotemporal"],
    "encoder_causal": True,
    "encoder_spatial_padding_mode": "zeros",
    "in_channels": 3,
    "latent_channels": 128,
    "layers_per_block": [4, 6, 6, 2, 2],
    "out_channels": 3,
    "patch_size": 4,
    "patch_size_t": 1,
    "resnet_norm_eps": 1e-06,
    "scaling_factor": 1.0,
    "spatial_compression_ratio": 32,
    "spatio_temporal_scaling": [True] * 4,
    "temporal_compression_ratio": 8,
    "timestep_conditioning": False,
    "upsample_factor": [2] * 3,
    "upsample_residual": [True] * 3,
    "upsample_type": ["spatiotemporal"] * 3,
}

LTX2_CAUSAL_VAE = {
    **{field: value for field, value in LTX2_VAE.items() if field != "upsample_type"},
    "_class_name": LTX2_CAUSAL_CLASS,
    "decoder_causal": True,
    "decoder_upsample_type": ["spatiotemporal"] * 3,
}

# LongSANA's sampling, without what that family puts in front of a prompt.
FEW_STEP = {
    "family": "longtake",
    "sampler": "few_step",
    "timesteps": [1000, 960, 889, 727],
    "shift": 7.0,
    "block_latent_frames": 10,
    "fps": 16,
    "caption_tokens": 300,
    "motion_score": 10,
    "sizes": ["832x480"],
    "max_latent_frames": 241,
}

# The published 5B model.
SANA_VIDEO_2 = {
    "_class_name": "SanaVideo2",
    "layers": 32,
    "width": 2560,
    "linear_head_dim": 128,
    "softmax_head_dim": 256,
    "cross_heads": 20,
    "softmax_ratio": 0.25,
    "ffn_ratio": 4,
    "residual_block": 8,
    "channels": 128,
    "caption_channels": 2304,
    "patch_size": [1, 1, 1],
}

SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler",
    "_diffusers_version": "0.36.0",
    "algorithm_type": "dpmsolver++",
    "final_sigmas_type": "zero",
    "flow_shift": 8.0,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "solver_order": 2,
    "solver_type": "midpoint",
    "use_flow_sigmas": True,
}

# Of the published files' shapes.
TINY_DECODERS = {
    "taew2_1": {"channels": 16, "patch": 1, "widths": [256, 128, 64, 64], "times": [1, 2, 2]},
    "taeltx_2": {"channels": 128, "patch": 4, "widths": [256, 128, 64, 64], "times": [2, 2, 2]},
}

PARTS = {
    "transformer": (TRANSFORMER, tensor_lists.transformer, "diffusion_pytorch_model"),
    "vae": (VAE, tensor_lists.vae, "diffusion_pytorch_model"),
    "text_encoder": (TEXT_ENCODER, tensor_lists.text_encoder, "model"),
}
LIBRARIES = {
    "transformer": ["diffusers", "SanaVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
    "text_encoder": ["transformers", "Gemma2Model"],
    "tokenizer": ["transformers", "GemmaTokenizer"],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
}


class Weights:
    """Random values for each tensor in turn, cut from a pool that is scaled and rounded once for each scale."""

    def __init__(self, seed: int, dtype: str):
        self._rng = np.random.default_rng(seed)
        self._pool = self._rng.standard_normal(POOL_VALUES, dtype=np.float32)
        self._dtype = dtype
        self._scaled: dict[tuple[float, float], np.ndarray] = {}

    def __call__(self, spec: TensorSpec) -> np.ndarray:
        scale = _scale(spec.name, spec.shape)
        if scale not in self._scaled:
            values = encode(self._pool * np.float32(scale[1]) + np.float32(scale[0]), self._dtype)
            self._scaled[scale] = np.concatenate([values, values])
        count, offset = math.prod(spec.shape), int(self._rng.integers(POOL_VALUES))
        piece = self._scaled[scale][offset : offset + POOL_VALUES]
        return piece[:count] if count <= POOL_VALUES else np.resize(piece, count)


def _scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and deviation under which activations neither vanish nor grow."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "bias":
        return 0.0, 0.02
    if leaf == "gamma":
        return 1.0, 0.05
    if leaf == "scale_shift_table":
        return 0.0, 0.2
    if name in ("latents_mean", "latents_std"):
        return (0.0 if name == "latents_mean" else 1.0), 0.05
    if len(shape) == 1:
        return (0.0, 0.05) if "layernorm" in name or name == "norm.weight" else (1.0, 0.05)
    if name == "embed_tokens.weight":
        return 0.0, 1 / math.sqrt(shape[1])
    gain = 0.3 if name in ("decoder.conv_out.weight", "decoder.conv_out.conv.weight") else 1.0
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def _progress(part: str):
    """Shows how far a part is: each percent on a terminal's one line, elsewhere one line at its end."""
    terminal = sys.stderr.isatty()
    shown = [-1]

    def show(done: int, total: int) -> None:
        percent = 100 * done // total
        if percent != shown[0] and (terminal or done == total):
            shown[0] = percent
            text = f"{part}: {done / 1e9:.3f} of {total / 1e9:.3f} GB"
            print(f"\r{text}" if terminal else text, end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def part_of(part: str, config: dict):
    """Defaults of config.json, the tensors' list, the files' stem, and the entry of model_index.json, by the class of a
    config or of the changes to one."""
    defaults, list_tensors, stem = PARTS[part]
    library, name = LIBRARIES[part]
    others = [
        ("vae", LTX2_VAE, tensor_lists.ltx2_vae),
        ("vae", LTX2_CAUSAL_VAE, tensor_lists.ltx2_vae),
        ("transformer", SANA_VIDEO_2, tensor_lists.sana_video2),
    ]
    for other, other_defaults, other_tensors in others:
        if part == other and config.get("_class_name") == other_defaults["_class_name"]:
            defaults, list_tensors, name = other_defaults, other_tensors, other_defaults["_class_name"]
    return defaults, list_tensors, stem, [library, name]


def write_model(
    out: Path,
    parts: list[str],
    changes: dict[str, dict],
    sampler: str = "few_step",
    settings: dict | None = None,
    dtype: str = "bfloat16",
    seed: int = 0,
    tokenizer: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
    tiny_decoder: str | None = None,
) -> None:
    """Writes the folder. changes: part -> fields of its config.json that differ from the defaults."""
    out.mkdir(parents=True, exist_ok=True)
    index = {"_class_name": "SanaVideoPipeline", "_diffusers_version": "0.36.0"}
    weights = Weights(seed, STORAGE[dtype])
    for part in parts:
        defaults, list_tensors, stem, index[part] = part_of(part, changes.get(part, {}))
        config = {**defaults, **changes.get(part, {})}
        specs = [TensorSpec(name, shape, STORAGE[dtype]) for name, shape in list_tensors(config)]
        write_part(out / part, stem, specs, weights, shard_bytes, _progress(part))
        (out / part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if tiny_decoder:
        tensors = tensor_lists.tiny_decoder(TINY_DECODERS[tiny_decoder])
        specs = [TensorSpec(name, shape, STORAGE[dtype]) for name, shape in tensors]
        write_part(out / "tiny_decoder", tiny_decoder, specs, weights, shard_bytes, _progress("tiny_decoder"))
    if tokenizer:
        (out / "tokenizer").mkdir(exist_ok=True)
        shutil.copyfile(tokenizer, out / "tokenizer" / "tokenizer.model")
        index["tokenizer"] = LIBRARIES["tokenizer"]
    own = FEW_STEP
    if sampler == "bidirectional":
        own = {"sampler": "flow_dpm_solver"}
        (out / "scheduler").mkdir(exist_ok=True)
        (out / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
        index["scheduler"] = LIBRARIES["scheduler"]
    (out / "longtake.json").write_text(json.dumps({**own, **(settings or {})}, indent=2) + "\n")
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sampler", choices=["few_step", "bidirectional"], default="few_step")
    parser.add_argument("--parts", default=",".join(PARTS))
    for part in PARTS:
        parser.add_argument("--" + part.replace("_", "-"), type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="fields of longtake.json")
    parser.add_argument("--dtype", choices=STORAGE, default="bfloat16")
    parser.add_argument("--tiny-decoder", choices=TINY_DECODERS, help="a tiny decoder beside the VAE")
    parser.add_argument("--tokenizer", type=Path, help="a SentencePiece model to copy in")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    unknown = set(parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {min(unknown)}; there are {', '.join(PARTS)}")
    changes = {part: getattr(arguments, part) for part in PARTS}
    write_model(
        arguments.out,
        parts,
        changes,
        arguments.sampler,
        arguments.settings,
        arguments.dtype,
        arguments.seed,
        arguments.tokenizer,
        tiny_decoder=arguments.tiny_decoder,
    )


if __name__ == "__main__":
    main()
