"""How exactly the VAE reconstructs drawn clips, computed by the engine (`longtake-module`), so that no torch is needed."""

import math
import os
import random
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

from tools.clips import render, sample_story
from tools.clips import vocabulary as V

_FRAMES = 129  # eight seconds: a causal VAE is judged with its caches long full


def _module(runner, model, module, folder, **inputs):
    source, target = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    save_file(inputs, source)
    command = [runner, "--model", model, "--module", module, "--input", source, "--output", target, "--dtype", "float32"]
    subprocess.run(command, check=True)
    return load_file(target)


def psnr(runner, model, clips, level=V.BUNDLED, seed=7):
    """dB by part of the clip: first frame, frames 1 to 32, the last 32 of 129. Means of squared errors over `clips` clips."""
    errors = {"first": [], "early": [], "late": []}
    for i in range(clips):
        video = render(sample_story(random.Random(seed * 100 + i), level=V.LEVELS[level], held=True), 0, _FRAMES)
        x = np.ascontiguousarray(video.transpose(3, 0, 1, 2)[None].astype(np.float32) / 127.5 - 1)
        with tempfile.TemporaryDirectory() as folder:
            latents = _module(runner, model, "vae_encoder", folder, frames=x)["latents"]
            y = _module(runner, model, "vae_decoder", folder, latents=latents)["frames"]
        error = np.square(y.clip(-1, 1) - x).mean((0, 1, 3, 4))
        for name, part in (("first", error[:1]), ("early", error[1:33]), ("late", error[-32:])):
            errors[name].append(float(part.mean()))
    return {name: 10 * math.log10(4 / max(1e-9, float(np.mean(e)))) for name, e in errors.items()}
