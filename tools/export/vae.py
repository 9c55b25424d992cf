"""Cases of the Wan VAE, decoder and encoder, from diffusers' AutoencoderKLWan."""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from tools.export.folder import ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.weights import randomize


def random_config(rng: random.Random, patch: int | None = None) -> dict:
    """Shapes around Wan 2.1's; with `patch` the frames are folded before the first convolution."""
    channels = 3 * (patch or 1) ** 2
    z_dim = rng.choice([4, 6, 16])
    config = {
        "base_dim": rng.choice([8, 12, 16]),
        "z_dim": z_dim,
        "dim_mult": rng.choice([[1, 2, 4, 4], [1, 2, 2, 4], [1, 1, 2, 2]]),
        "num_res_blocks": rng.choice([1, 2]),
        "temperal_downsample": [False, True, True],
        "in_channels": channels,
        "out_channels": channels,
        "latents_mean": [round(rng.uniform(-1, 1), 4) for _ in range(z_dim)],
        "latents_std": [round(rng.uniform(0.5, 3), 4) for _ in range(z_dim)],
    }
    if patch:
        config["patch_size"] = patch
        config["scale_factor_spatial"] = 8 * patch
    return config


def build(config: dict, seed: int, dtype: str) -> AutoencoderKLWan:
    model = randomize(AutoencoderKLWan(**config), seed)
    # Frames of about 0.4, so that the clamp at 1 is reached by few pixels only.
    model.decoder.conv_out.weight.data.mul_(0.4)
    return stored_as(model, dtype)


def _statistics(model) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1, -1, 1, 1, 1)
    return torch.tensor(model.config.latents_mean).view(shape), torch.tensor(model.config.latents_std).view(shape)


def decode(model, latents: torch.Tensor) -> torch.Tensor:
    mean, std = _statistics(model)
    return model.decode((latents * std + mean).to(model.dtype), return_dict=False)[0].float()


def encode(model, frames: torch.Tensor) -> torch.Tensor:
    mean, std = _statistics(model)
    return (model.encode(frames.to(model.dtype)).latent_dist.mode().float() - mean) / std


def cases(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    patch: int | None = None,
    config=None,
    latent_frames=None,
    size=None,
    variant=None,
) -> None:
    """One folder with a decoder and an encoder case."""
    config = {**random_config(rng, patch), **(config or {})}
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder = ModelFolder(out, name)
    folder.add("vae", model, dtype, variant=variant)
    folder.close()

    generator = torch.Generator().manual_seed(seed)
    count = latent_frames or rng.choice([1, 2, 3, 4])
    height, width = size or (rng.choice([3, 4]), rng.choice([3, 5, 6]))
    stride = 8 * (patch or 1)
    latents = torch.randn(1, config["z_dim"], count, height, width, generator=generator)
    frames = torch.rand(1, 3, 4 * count - 3, height * stride, width * stride, generator=generator) * 2 - 1
    inputs = {"latents": latents}
    if count > 1:
        cut = rng.randrange(1, count)
        inputs["block_lengths"] = torch.tensor([cut, count - cut])  # any cut gives the same frames
    write_case(
        out,
        f"{name}_decoder",
        "vae_decoder",
        name,
        inputs,
        bfloat16_draws(model, dtype, lambda m: {"frames": decode(m, latents)}),
    )
    write_case(
        out,
        f"{name}_encoder",
        "vae_encoder",
        name,
        {"frames": frames},
        bfloat16_draws(model, dtype, lambda m: {"latents": encode(m, frames)}),
    )
