"""Writes what the training code's generator makes of the bundled model, for the test that the engine makes the same.

    python -m tools.train.reference

The test (tests/tools/test_bundled_model.py) needs no torch, so the noise is numpy's, whose legacy generator never
changes. Run this again when the model has changed: the file holds the weights' checksum.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

MODEL = "models/longtake-tiny"
OUTPUT = "tests/tools/data/longtake_tiny_latents.safetensors"
PROMPT = "A big red ball moves right over the sea at night"
FRAMES, HEIGHT, WIDTH = 17, 4, 6  # latent: a longer first block, a full window, and few bytes
_FILES = (
    "transformer/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.model",
)
_SETTINGS = (
    *("sampler", "timesteps", "shift", "block_latent_frames", "state_window_blocks", "guidance", "negative_prompt"),
    *("prompt_prefix", "lower_case", "caption_tokens"),
)


def noise(steps, channels, seed=11):
    """float32 [steps, channels, FRAMES, HEIGHT, WIDTH]."""
    return np.random.RandomState(seed).standard_normal((steps, channels, FRAMES, HEIGHT, WIDTH)).astype(np.float32)


def checksum(folder):
    """Of everything that decides the latents: weights, and the settings among longtake.json's."""
    digest = hashlib.sha256()
    for part in _FILES:
        digest.update((Path(folder) / part).read_bytes())
    told = json.loads((Path(folder) / "longtake.json").read_text())
    digest.update(json.dumps([told.get(name) for name in _SETTINGS]).encode())
    return digest.hexdigest()


def main():
    import torch
    from safetensors.torch import save_file

    from tools.train import generate, settings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--output", default=OUTPUT)
    args = parser.parse_args()
    models, vae, stats, tok, told = generate.load(args.model)
    generator = generate.Generator(models, vae, stats, tok, told)
    drawn = torch.from_numpy(noise(len(told["timesteps"]), settings.LATENT_CHANNELS))[:, None]
    latents = generator.latents([PROMPT], FRAMES, noise=drawn)[0]
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    save_file({"latents": latents.contiguous()}, args.output, {"checksum": checksum(args.model)})
    print(f"{args.output}: {list(latents.shape)}, largest {latents.abs().max():.2f}")


if __name__ == "__main__":
    main()
