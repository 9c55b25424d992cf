"""Writes what the training code's generator makes of the bundled model, for the test that the engine makes the same.

    python -m tools.train.reference

The test (tests/tools/test_bundled_model.py) needs no torch, so the noise is numpy's, whose legacy generator never
changes. Run this again when the model has changed: the file holds the weights' checksum.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

MODEL = "models/longtake-tiny"
OUTPUT = "tests/tools/data/longtake_tiny_latents.safetensors"
PROMPT = "A big red ball moves right over the sea at night"
FRAMES, HEIGHT, WIDTH = 17, 4, 6  # latent: a longer first block, a full window, and few bytes
_PARTS = ("transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "longtake.json")


def noise(steps, channels, seed=11):
    """float32 [steps, channels, FRAMES, HEIGHT, WIDTH]."""
    return np.random.RandomState(seed).standard_normal((steps, channels, FRAMES, HEIGHT, WIDTH)).astype(np.float32)


def checksum(folder):
    """Of the files that decide the latents."""
    digest = hashlib.sha256()
    for part in (*_PARTS, "tokenizer/tokenizer.model"):
        digest.update((Path(folder) / part).read_bytes())
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
