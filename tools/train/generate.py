"""The reference generator: from a prompt to a video with torch, the way the engine does it.

python -m tools.train.generate "a red ball rises over the sea" --seconds 10 --output ball.mp4
"""

import argparse
import json
import os

import numpy as np
import torch
from diffusers import AutoencoderKLWan, SanaVideoTransformer3DModel
from transformers import Gemma2Model

from tools.train import dit, pictures, run, settings
from tools.train.tokenizer import Tokenizer
from tools.video import write_mp4

DEFAULT_FOLDER = "models/longtake-tiny"


def load(folder, dtype=torch.float32):
    """A model folder → (models, vae, (mean, std), tokenizer, settings of longtake.json)."""
    with open(os.path.join(folder, "longtake.json")) as file:
        told = json.load(file)
    kinds = {
        "dit": (SanaVideoTransformer3DModel, "transformer", {}),
        "text": (Gemma2Model, "text_encoder", {"attn_implementation": "eager"}),
    }
    models = torch.nn.ModuleDict()
    for name, (kind, part, extra) in kinds.items():
        key = "dtype" if name == "text" else "torch_dtype"
        models[name] = kind.from_pretrained(os.path.join(folder, part), **{key: dtype}, **extra)
    vae = AutoencoderKLWan.from_pretrained(os.path.join(folder, "vae"), torch_dtype=dtype)
    stats = (list(vae.config.latents_mean), list(vae.config.latents_std))
    tok = Tokenizer(os.path.join(folder, "tokenizer", "tokenizer.model"), told["caption_tokens"])
    return models.eval(), vae.eval(), stats, tok, told


class Generator:
    """Prompts to latents to frames. `told`: what longtake.json says (default: the training settings)."""

    def __init__(self, models, vae, stats, tok, told=None):
        self.models, self.vae, self.tok = models, vae, tok
        self.told = told or settings.pipeline_settings()
        self.dev = next(models.parameters()).device
        view = (1, -1, 1, 1, 1)
        self.mean, self.std = (torch.tensor(s, device=self.dev).view(view) for s in stats)

    @staticmethod
    def latent_frames(seconds):
        """Whole latent frames nearest to a duration: 1 + 4k video frames."""
        return 1 + max(0, round((seconds * settings.FPS - 1) / 4))

    def _caption(self, prompts):
        ids, mask = (x.to(self.dev) for x in self.tok.batch(prompts))
        return dit.encode_text(self.models, ids, mask)

    @torch.no_grad()
    def latents(self, prompts, frames, seed=0, noise=None, switch=None):
        """Normalised latents [B, C, frames, 10, 16].

        noise [steps, B, C, frames, h, w]: entry 0 starts each block, entry i is added before step i; drawn
        from `seed` at the bundled model's size if None. switch: (block, prompts) from which block on other prompts rule.
        """
        timesteps, guidance = self.told["timesteps"], self.told.get("guidance", 1)
        shape = (len(timesteps), len(prompts), settings.LATENT_CHANNELS, frames, *settings.LATENT)
        if noise is None:
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        noise = noise.to(self.dev)
        caption, bias = self._caption(prompts)
        if guidance != 1:
            empty, empty_bias = self._caption([self.told.get("negative_prompt", "")] * len(prompts))
        streamer, out, first = dit.Streamer(self.models, self.told["state_window_blocks"]), [], 0
        for j, n in enumerate(settings.block_lengths(frames)):
            if switch and j == switch[0]:
                caption, bias = self._caption(switch[1])
                if j:
                    streamer.recommit(caption, bias)
            part = noise[:, :, :, first : first + n]
            x = part[0]
            for i, t in enumerate(timesteps):
                v = streamer.velocity(x, t, caption, bias)
                if guidance != 1:
                    base = streamer.velocity(x, t, empty, empty_bias)
                    v = base + guidance * (v - base)
                x0 = x - t / 1000 * v
                last = i + 1 == len(timesteps)
                level = 0 if last else timesteps[i + 1] / 1000
                x = x0 if last else (1 - level) * x0 + level * part[i + 1]
            streamer.commit(x, caption, bias)
            out.append(x)
            first += n
        return torch.cat(out, 2)

    @torch.no_grad()
    def decode(self, latents):
        """Normalised latents [B, C, T, 10, 16] → frames [B, 4T-3, 160, 256, 3] uint8."""
        z = (latents * self.std + self.mean).to(next(self.vae.parameters()).dtype)
        return pictures.to_uint8(self.vae.decode(z).sample.movedim(1, 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--model", default=DEFAULT_FOLDER)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, help=".mp4 (one prompt) or .png (a row a prompt, six moments)")
    args = parser.parse_args()
    models, vae, stats, tok, told = load(args.model)
    generator = Generator(models.to(run.device()), vae.to(run.device()), stats, tok, told)
    latents = generator.latents(args.prompts, generator.latent_frames(args.seconds), args.seed)
    videos = [generator.decode(latents[i : i + 1])[0] for i in range(len(args.prompts))]
    if args.output.endswith(".mp4"):
        write_mp4(args.output, videos[0])
    else:
        moments = np.linspace(0, len(videos[0]) - 1, 6).astype(int)
        pictures.sheet(args.output, [v[moments] for v in videos])


if __name__ == "__main__":
    main()
