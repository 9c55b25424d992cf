"""Cases of the LTX-2 VAE, decoder and encoder, from diffusers' AutoencoderKLLTX2Video.

The causal class, AutoencoderKLCausalLTX2Video of NVlabs' repository, is not in diffusers. Its decoder is diffusers' run
with `causal=True`; its config.json has `decoder_upsample_type`, from the last stage to the first, for `upsample_type`.
"""

import json
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Video

from tools.export.folder import ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.weights import randomize

SPATIAL, TEMPORAL, BOTH = "spatial", "temporal", "spatiotemporal"
STRIDES = {SPATIAL: (1, 2), TEMPORAL: (2, 1), BOTH: (2, 2)}
CAUSAL_CLASS = "AutoencoderKLCausalLTX2Video"


def _common(config: dict) -> dict:
    """Adds the fields that follow from the others."""
    kinds = config["downsample_type"]
    return {
        "encoder_causal": True,
        "decoder_causal": False,
        "encoder_spatial_padding_mode": "zeros",
        "down_block_types": ["LTX2VideoDownBlock3D"] * len(kinds),
        "spatio_temporal_scaling": [True] * len(kinds),
        "decoder_spatio_temporal_scaling": [True] * len(config["upsample_type"]),
        "decoder_inject_noise": [False] * (len(config["upsample_type"]) + 1),
        "spatial_compression_ratio": config["patch_size"] * 2 ** sum(STRIDES[kind][1] == 2 for kind in kinds),
        "temporal_compression_ratio": 2 ** sum(STRIDES[kind][0] == 2 for kind in kinds),
        **config,
    }


def random_config(rng: random.Random, architecture: str) -> dict:
    """The steps of LTX-2 ("2.0") or LTX-2.3 ("2.3") at small widths."""
    z = rng.choice([4, 8])
    config = {
        "latent_channels": z,
        "patch_size": rng.choice([1, 2, 4]),
        "downsample_type": [SPATIAL, TEMPORAL, BOTH, BOTH],
        "layers_per_block": [rng.choice([1, 2]) for _ in range(5)],
    }
    if architecture == "2.0":
        width = rng.choice([16, 32])
        config |= {
            "block_out_channels": [2 * z, 4 * z, 8 * z, 16 * z],
            "decoder_block_out_channels": [width // 2, width, 2 * width],
            "decoder_layers_per_block": [rng.choice([1, 2]) for _ in range(4)],
            "upsample_residual": [True] * 3,
            "upsample_factor": [2] * 3,
            "upsample_type": [BOTH] * 3,
            "decoder_spatial_padding_mode": "reflect",
        }
    else:
        width = rng.choice([8, 16])
        config |= {
            "block_out_channels": [2 * z, 4 * z, 8 * z, 8 * z],
            "decoder_block_out_channels": [width, 2 * width, 2 * width, 4 * width],
            "decoder_layers_per_block": [rng.choice([1, 2]) for _ in range(5)],
            "upsample_residual": [False] * 4,
            "upsample_factor": [2, 2, 1, 2],
            "upsample_type": [BOTH, BOTH, TEMPORAL, SPATIAL],
            "decoder_spatial_padding_mode": "zeros",
        }
    return config


def build(config: dict, seed: int, dtype: str) -> AutoencoderKLLTX2Video:
    model = randomize(AutoencoderKLLTX2Video(**_common(config)), seed)
    generator = torch.Generator().manual_seed(seed)
    # Statistics that every type of a file holds exactly.
    model.latents_mean.copy_(torch.randint(-16, 17, model.latents_mean.shape, generator=generator) / 16)
    model.latents_std.copy_(torch.randint(8, 33, model.latents_std.shape, generator=generator) / 16)
    # Frames of about 0.4, so that the clamp at 1 is reached by few pixels only.
    model.decoder.conv_out.conv.weight.data.mul_(0.4)
    return stored_as(model, dtype)


def _statistics(model) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1, -1, 1, 1, 1)
    return model.latents_mean.float().view(shape), model.latents_std.float().view(shape)


def _dtype(model) -> torch.dtype:
    return next(model.parameters()).dtype


def decode(model, latents: torch.Tensor, causal: bool) -> torch.Tensor:
    mean, std = _statistics(model)
    return model.decoder((latents * std + mean).to(_dtype(model)), None, causal=causal).float().clamp(-1, 1)


def encode(model, frames: torch.Tensor) -> torch.Tensor:
    mean, std = _statistics(model)
    return (model.encode(frames.to(_dtype(model))).latent_dist.mode().float() - mean) / std


def _make_causal(folder: Path) -> None:
    """Rewrites config.json to that of the causal class."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["_class_name"] = CAUSAL_CLASS
    config["decoder_causal"] = True
    config["decoder_upsample_type"] = config.pop("upsample_type")[::-1]
    path.write_text(json.dumps(config, indent=2) + "\n")


def cases(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    architecture: str,
    causal: bool = False,
    config=None,
    latent_frames=None,
    size=None,
) -> None:
    """One folder with a decoder and, unless it is causal, an encoder case; both classes have the same encoder."""
    config = config or random_config(rng, architecture)
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder = ModelFolder(out, name)
    path = folder.add("vae", model, dtype, class_name=CAUSAL_CLASS if causal else "AutoencoderKLLTX2Video")
    if causal:
        _make_causal(path)
    folder.close()

    generator = torch.Generator().manual_seed(seed)
    count = latent_frames or rng.choice([1, 2, 3, 5])
    height, width = size or (rng.choice([2, 3]), rng.choice([2, 3, 4]))
    latents = torch.randn(1, config["latent_channels"], count, height, width, generator=generator)
    inputs = {"latents": latents}
    if count > 1:
        cut = rng.randrange(1, count)
        inputs["block_lengths"] = torch.tensor([cut, count - cut])  # any cut gives the same frames
    draws = bfloat16_draws(model, dtype, lambda m: {"frames": decode(m, latents, causal)})
    write_case(out, f"{name}_decoder", "vae_decoder", name, inputs, draws)
    if causal:
        return
    stride, times = model.config.spatial_compression_ratio, model.config.temporal_compression_ratio
    shape = (1, 3, 1 + times * (count - 1), height * stride, width * stride)
    frames = (torch.rand(shape, generator=generator) * 2 - 1).to(torch.bfloat16)
    draws = bfloat16_draws(model, dtype, lambda m: {"latents": encode(m, frames)})
    write_case(out, f"{name}_encoder", "vae_encoder", name, {"frames": frames}, draws)


# Two or three steps of each kind at widths of 4 to 16: all that the classes do, in few bytes.
COMMITTED_20 = {
    "latent_channels": 4,
    "patch_size": 2,
    "downsample_type": [SPATIAL, TEMPORAL, BOTH],
    "block_out_channels": [8, 8, 8],
    "layers_per_block": [1, 2, 1, 1],
    "decoder_block_out_channels": [8, 8],
    "decoder_layers_per_block": [1, 2, 1],
    "upsample_residual": [True, True],
    "upsample_factor": [2, 1],
    "upsample_type": [BOTH, BOTH],
    "decoder_spatial_padding_mode": "reflect",
}
COMMITTED_23 = {
    "latent_channels": 4,
    "patch_size": 1,
    "downsample_type": [SPATIAL, TEMPORAL, BOTH, BOTH],
    "block_out_channels": [8, 8, 8, 8],
    "layers_per_block": [1, 1, 1, 1, 1],
    "decoder_block_out_channels": [4, 4, 4, 8],
    "decoder_layers_per_block": [1, 1, 2, 1, 1],
    "upsample_residual": [False] * 4,
    "upsample_factor": [2, 1, 1, 2],
    "upsample_type": [BOTH, BOTH, TEMPORAL, SPATIAL],
    "decoder_spatial_padding_mode": "zeros",
}
COMMITTED_CAUSAL = {
    "latent_channels": 4,
    "patch_size": 2,
    "downsample_type": [SPATIAL, BOTH],
    "block_out_channels": [8, 8],
    "layers_per_block": [1, 1, 1],
    "decoder_block_out_channels": [4, 4, 8],
    "decoder_layers_per_block": [1, 1, 2, 1],
    "upsample_residual": [True, False, True],
    "upsample_factor": [1, 1, 2],
    "upsample_type": [TEMPORAL, SPATIAL, SPATIAL],
    "decoder_spatial_padding_mode": "reflect",
}


def committed_cases(out: Path, rng: random.Random) -> None:
    cases(out, "ltx2_vae", rng, "bfloat16", "2.0", config=COMMITTED_20, latent_frames=3, size=(2, 2))
    cases(out, "ltx23_vae", rng, "bfloat16", "2.3", config=COMMITTED_23, latent_frames=3, size=(1, 2))
    cases(out, "ltx2_causal_vae", rng, "bfloat16", "2.0", causal=True, config=COMMITTED_CAUSAL, latent_frames=3, size=(2, 3))
