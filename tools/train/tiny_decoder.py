"""Trains a tiny decoder for a model folder's VAE: TAEHV's architecture, from latents straight to pictures.

    python -m tools.train.tiny_decoder --model models/longtake-tiny --work out/tiny --minutes 40 --export models/longtake-tiny

It is taught by the full decoder: parts of clips of `tools/clips` go through the VAE's encoder, some of their latents are
perturbed as the transformer's are, and what the full decoder makes of them is what the tiny one is to make. Prints the PSNR
between the two on clips that training never draws, and the ratio of their times. Resumable: run the same command again after
a kill.
"""

import argparse
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

from tools.clips import render, sample_story
from tools.clips import vocabulary as V
from tools.train import muon, pictures, run, whole
from tools.train.vae import crops

# The stages' widths, and how much each grows a frame in space. TAEHV's own three all double it; here the first does not, and
# the last convolution makes four by four pixels where the full decoder's makes two by two: a quarter of the positions in the
# last layers. 0.07 of the bundled VAE's multiply-adds, and 1.3 MB in bfloat16.
WIDTHS = (48, 48, 32, 16)
SPACE = (1, 2, 2)
FILE = "decoder.safetensors"
_LATENTS = 9  # of a clip: 33 frames
_WINDOW, _BEFORE = 3, 3  # latents of a training step, and at most so many before them that only fill the memory
_BATCH = 2
_CLIPS, _SIDE = 400, 96  # a square of 6 x 6 latents each; of 48 of them the decoder learned these and nothing else
_NOISE = 0.2  # of a channel's spread: the most that half of the clips' latents are perturbed by


class _Clamp(torch.nn.Module):
    def forward(self, x):
        return 3 * torch.tanh(x / 3)


class Memory(torch.nn.Module):
    """A residual block of frames [B, T, C, H, W] that sees each frame's predecessor; `past` precedes the first."""

    def __init__(self, width):
        super().__init__()
        conv, relu = torch.nn.Conv2d, torch.nn.ReLU
        self.conv = torch.nn.Sequential(
            conv(2 * width, width, 3, padding=1),
            relu(),
            conv(width, width, 3, padding=1),
            relu(),
            conv(width, width, 3, padding=1),
        )

    def forward(self, x, past):
        before = torch.cat([torch.zeros_like(x[:, :1]) if past is None else past, x[:, :-1]], 1)
        both = torch.cat([x, before], 2).flatten(0, 1)
        return F.relu(self.conv(both).view_as(x) + x), x[:, -1:].detach()


class Grow(torch.nn.Module):
    """Each frame becomes `times` successive ones."""

    def __init__(self, width, times):
        super().__init__()
        self.times = times
        self.conv = torch.nn.Conv2d(width, width * times, 1, bias=False)

    def forward(self, x):
        return self.conv(x).unflatten(1, (self.times, -1)).flatten(0, 1)


class Decoder(torch.nn.Module):
    """Normalised latents → frames in 0…1. Names and numbers of the layers are TAEHV's."""

    def __init__(self, channels, patch, widths=WIDTHS, times=(1, 2, 2), space=SPACE):
        super().__init__()
        conv = torch.nn.Conv2d
        layers = [_Clamp(), conv(channels, widths[0], 3, padding=1), torch.nn.ReLU()]
        for width, after, grow, larger in zip(widths, widths[1:], times, space, strict=False):
            layers += [Memory(width) for _ in range(3)]
            layers += [torch.nn.Upsample(scale_factor=larger), Grow(width, grow), conv(width, after, 3, padding=1, bias=False)]
        layers += [torch.nn.ReLU(), conv(widths[3], 3 * patch**2, 3, padding=1)]
        self.decoder = torch.nn.Sequential(*layers)
        self.patch, self.frames = patch, math.prod(times)

    def forward(self, z, past=None):
        """z [B, C, T, h, w] → (frames [B, 3, frames · T, H, W], the memory after them). A clip's first frames - 1 are none
        of the video's."""
        b = len(z)
        x = z.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        after, blocks = [], 0
        for layer in self.decoder:
            if isinstance(layer, Memory):
                x, last = layer(x.unflatten(0, (b, -1)), past and past[blocks])
                x, blocks = x.flatten(0, 1), blocks + 1
                after.append(last)
            elif isinstance(layer, torch.nn.Upsample):
                up = layer  # after the 1x1 convolution behind it, with which it commutes: a quarter of its work
            elif isinstance(layer, Grow):
                x = up(layer(x))
            else:
                x = layer(x)
        x = F.pixel_shuffle(x, self.patch)
        return x.unflatten(0, (b, -1)).transpose(1, 2), after


def _statistics(vae):
    shape = (1, -1, 1, 1, 1)
    return torch.tensor(vae.config.latents_mean).view(shape), torch.tensor(vae.config.latents_std).view(shape)


@torch.no_grad()
def _decoded(vae, video, noise, rng):
    """Frames in 0…255 [T, H, W, 3] → (normalised latents [C, t, h, w], perturbed, and what the full decoder makes of them in
    0…255 [3, T, H, W])."""
    mean, std = _statistics(vae)
    z = (whole.encode(vae, torch.from_numpy(video).permute(3, 0, 1, 2)[None].float() / 127.5 - 1)[0] - mean) / std
    z = z + noise * torch.randn(z.shape, generator=torch.Generator().manual_seed(rng.randrange(2**31)))
    frames = whole.decode(vae, z * std + mean).clamp(-1, 1)
    return z[0], ((frames[0] + 1) * 127.5).round().byte()


def _data(work, vae, level):
    """The clips; kept, so that a resumed run has the same."""
    path = os.path.join(work, "tiny_clips.pt")
    if os.path.exists(path):
        return torch.load(path)
    rng = random.Random(5)
    videos = crops(rng, _CLIPS, 4 * _LATENTS - 3, _SIDE, V.LEVELS[level])
    clips = [_decoded(vae, video, _NOISE * rng.random() * (i % 2), rng) for i, video in enumerate(videos)]
    torch.save(clips, path)
    return clips


def _loss(y, x):
    """Of frames in 0…1: edges weigh five times as much as flat areas, as in the VAE's training."""
    e = 2 * (y - x)
    flat = F.avg_pool3d(x, (1, 7, 7), 1, (0, 3, 3))
    weight = 1 + 4 * ((x - flat).abs() > 0.02).float()
    return (e.abs() * weight).mean() + (e.pow(2) * weight).mean()


def _step(model, clips, rng):
    """The loss on a window of some clips. The memory at its beginning is that of the latents before it."""
    start = rng.choice((0, rng.randrange(_LATENTS - _WINDOW + 1)))
    chosen = [clips[rng.randrange(len(clips))] for _ in range(_BATCH)]
    z = torch.stack([c[0] for c in chosen])
    past = None
    if start > 0:
        with torch.no_grad():
            past = model(z[:, :, max(0, start - _BEFORE) : start], None)[1]
    y, _ = model(z[:, :, start : start + _WINDOW], past)
    first = 0 if start == 0 else model.frames * (start - 1) + 1
    y = y[:, :, model.frames - 1 :] if start == 0 else y
    x = torch.stack([c[1][:, first : first + y.shape[2]] for c in chosen]).float() / 255
    return _loss(y, x)


@torch.no_grad()
def measure(model, vae, level, clips=4):
    """(PSNR against the full decoder's frames in dB, the two decoders' seconds a frame, rows of pictures)."""
    errors, seconds, rows = [], [0.0, 0.0], []
    mean, std = _statistics(vae)
    for i in range(clips):
        rng = random.Random(700 + i)
        video = render(sample_story(rng, level=V.LEVELS[level], held=True), 0, 4 * _LATENTS - 3)
        z, frames = _decoded(vae, video, 0.0, rng)
        begin = time.monotonic()
        whole.decode(vae, z[None] * std + mean)
        middle = time.monotonic()
        y = model(z[None])[0][0, :, model.frames - 1 :].clamp(0, 1)
        for k, took in enumerate((middle - begin, time.monotonic() - middle)):
            seconds[k] += took / clips / frames.shape[1]
        errors.append((y - frames.float() / 255).pow(2).mean().item())
        for clip in (frames.float() / 127.5 - 1, 2 * y - 1):
            rows.append(pictures.to_uint8(clip[:, [0, 8, 20, 32]].movedim(1, 0)))
    return 10 * math.log10(1 / (sum(errors) / len(errors))), seconds, rows


def train(work, vae, minutes, level, seed=1):
    """Trains for `minutes` in total (earlier runs counted) and returns the averaged decoder in float32."""
    torch.manual_seed(seed)
    patch = vae.config.scale_factor_spatial // math.prod(SPACE)
    model = Decoder(vae.config.z_dim, patch).to(memory_format=torch.channels_last)
    top = 2.5e-3
    optimizer = muon.Optimizer(model, top, lambda name, p: name not in ("decoder.1.weight", "decoder.22.weight") and p.ndim >= 2)
    ema = run.Ema(model, 0.998)
    stage = run.Stage(os.path.join(work, "tiny.pt"), minutes, {"model": model, "optimizer": optimizer, "ema": ema})
    clips = _data(work, vae, level)
    rng = random.Random(seed + stage.step)
    while not stage.done():
        optimizer.set_lr(top * min(1, (stage.step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * stage.share())) + 1e-5)
        loss = _step(model, clips, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        ema.update(model)
        stage.step += 1
        stage.log.append(loss.item())
        if stage.step % 100 == 0:
            print(f"{stage.used():.1f}/{minutes:.1f} min, step {stage.step}: loss {sum(stage.log[-100:]) / 100:.4f}", flush=True)
        if stage.due():
            stage.save()
    stage.save()
    model.load_state_dict(ema.values)
    return model.eval().requires_grad_(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the model whose VAE is the teacher")
    parser.add_argument("--work", required=True, help="folder for clips, checkpoints, pictures; never committed")
    parser.add_argument("--minutes", type=float, required=True, help="wall time, resumed runs counted")
    parser.add_argument("--export", help="model folder whose tiny_decoder is written")
    parser.add_argument("--level", type=int, default=V.BUNDLED, help="of the clips: see tools/clips/vocabulary.py")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.makedirs(args.work, exist_ok=True)
    vae = (
        AutoencoderKLWan.from_pretrained(os.path.join(args.model, "vae"), torch_dtype=torch.float32).eval().requires_grad_(False)
    )
    model = train(args.work, vae, args.minutes, args.level)
    stored = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
    model.load_state_dict({k: v.float() for k, v in stored.items()})
    psnr, (full, tiny), rows = measure(model, vae, args.level)
    times = f"{1000 * tiny:.2f} ms a frame, the full one {1000 * full:.2f}: {full / tiny:.1f} times"
    print(f"PSNR against the full decoder {psnr:.2f} dB; {times}")
    pictures.sheet(os.path.join(args.work, "tiny.png"), rows)
    if args.export:
        os.makedirs(os.path.join(args.export, "tiny_decoder"), exist_ok=True)
        path = os.path.join(args.export, "tiny_decoder", FILE)
        save_file({k: v.contiguous() for k, v in stored.items()}, path)
        os.chmod(path, 0o644)  # as the other files of a folder: safetensors gives it to its writer alone
        print("written", args.export, flush=True)


if __name__ == "__main__":
    main()
