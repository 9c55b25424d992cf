"""The VAE's stage: images first, then short clips, then long ones.

A causal VAE that has only seen short clips falls apart when its caches are full (33 dB on the first nine
frames, 14 dB after the twelfth, measured), so the last part of training is mostly long clips.
"""

import math
import os
import random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan

from tools.clips import render, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import position
from tools.train import muon, pictures, run, settings, whole

# (clips, frames, side of the square crop) by device.
_BATCHES = {
    "cpu": {"image": (12, 1, 96), "short": (4, 9, 96), "long": (2, 33, 96)},
    "cuda": {"image": (96, 1, 128), "short": (32, 9, 128), "long": (16, 49, 96)},
}
_STEEP = 2.0  # weight of the edges' steepness
_ROUGH = 0.3  # of a channel's spread: the most noise that a decoder sees which is trained for the transformer's latents


def make():
    """An untrained VAE of the bundled model's shape; latents are not normalised yet."""
    z = settings.LATENT_CHANNELS
    vae = AutoencoderKLWan(**settings.VAE, latents_mean=[0.0] * z, latents_std=[1.0] * z)
    # A posterior of deviation 1 drowns the first latents, whose means are far smaller; start with a quiet one.
    vae.quant_conv.weight.data[z:] *= 0.1
    vae.quant_conv.bias.data[z:] = -6.0
    return vae


def crops(rng, count, frames, side, level):
    """[count, frames, side, side, 3]: crops of random stories, two times in three around the object.

    Four crops of each story, at other moments: hills and sprites are most of the drawing, and are then drawn once.
    """
    out = np.empty((count, frames, side, side, 3), np.uint8)
    for i in range(count):
        if i % 4 == 0:
            story = sample_story(rng, rng.choice((1, 2)) if rng.random() < level.changes else None, level)
        start = rng.choice((0, rng.randrange(200)))
        x, y = position(story, start + min(4, frames // 2))
        if rng.random() > 0.67:
            x, y = rng.uniform(0, V.WIDTH), rng.uniform(0, V.HEIGHT)
        left = int(min(max(x - side / 2 + rng.uniform(-16, 16), 0), V.WIDTH - side))
        top = int(min(max(y - side / 2 + rng.uniform(-16, 16), 0), V.HEIGHT - side))
        out[i] = render(story, start, start + frames)[:, top : top + side, left : left + side]
    return out


class _Crops(torch.utils.data.IterableDataset):
    def __init__(self, shape, seed, level):
        self.shape, self.seed, self.level = shape, seed, V.LEVELS[level]

    def __iter__(self):
        import cv2

        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(self.seed * 1000 + (worker.id if worker else 0))
        n, frames, side = self.shape
        while True:
            yield crops(rng, n, frames, side, self.level)


def _kind(rng, share):
    """Which batch comes next, `share` of the stage being over."""
    image, long = (0.85, 0.0) if share < 0.3 else (0.3, 0.0) if share < 0.5 else (0.15, 0.55)
    u = rng.random()
    return "image" if u < image else "long" if u < image + long else "short"


def _steepness(x):
    """x [B, C, T, H, W] → the steepest step from pixel to pixel within five, on every second one [B, T, H/2, W/2]."""
    across, down = (x[..., 1:] - x[..., :-1]).abs(), (x[..., 1:, :] - x[..., :-1, :]).abs()
    return F.max_pool2d((F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))).mean(1), 5, 2, 2)


def _loss(vae, x, kl_weight, latent_noise, decoder_only):
    """(loss, squared error). A decoder alone is trained on the latents that the encoder gives now."""
    with torch.set_grad_enabled(not decoder_only):
        mean, log_variance = whole.encode(vae, x)
    mean, log_variance = mean.float(), log_variance.float()
    z = mean if decoder_only else mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    if latent_noise:
        # The transformer's latents are never exact: a decoder that has seen small errors does not tear at them.
        spread = mean.detach().std((0, 2, 3, 4), keepdim=True)
        z = z + latent_noise * spread * torch.rand((len(x), 1, 1, 1, 1), device=x.device) * torch.randn_like(z)
    y = whole.decode(vae, z).float()
    e = y - x
    # Edges are few pixels and the first thing seen: five times the weight of flat areas.
    flat = F.avg_pool3d(x, (1, 7, 7), 1, (0, 3, 3))
    weight = 1 + 4 * ((x - flat).abs() > 0.04).float()
    loss = (e.abs() * weight).mean() + 0.5 * (e.pow(2) * weight).mean()
    # Where latents do not tell an edge's place to the pixel, an average of all places has the least error and is smeared.
    # An edge is asked to be as steep as it was, wherever within two pixels it is.
    loss = loss + _STEEP * (_steepness(y) - _steepness(x)).abs().mean()
    if not decoder_only:
        loss = loss + kl_weight * 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).mean()
    return loss, e.detach().pow(2).mean()


@torch.no_grad()
def measure(vae, dev, level, clips=4, frames=129, seed=7):
    """PSNR in dB over whole frames, by part of the clip: first frame, frames 1…32, the last 32."""
    errors = {"first": [], "early": [], "late": []}
    rows = []
    for i in range(clips):
        rng = random.Random(seed * 100 + i)
        video = torch.from_numpy(render(sample_story(rng, level=V.LEVELS[level], held=True), 0, frames)).to(dev)
        x = video.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with run.autocast(dev):
            y = whole.decode(vae, whole.encode(vae, x)[0]).float().clamp(-1, 1)
        e = (y - x).pow(2).mean((0, 1, 3, 4)).cpu()
        for name, part in (("first", e[:1]), ("early", e[1:33]), ("late", e[-32:])):
            errors[name].append(part.mean().item())
        for clip in (x, y):
            rows.append(pictures.to_uint8(clip[0, :, [0, 8, frames // 2, frames - 1]].movedim(1, 0)))
    return {k: 10 * math.log10(4 / max(1e-9, sum(v) / len(v))) for k, v in errors.items()}, rows


def _freeze_encoder(vae):
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)


def train(work, minutes, level, init=None, decoder_only=False, kl_weight=1e-6, seed=1, workers=None):
    """Trains for `minutes` in total (earlier runs counted) and returns the averaged VAE in float32.

    `level`: of `clips.vocabulary.LEVELS`. `init`: a VAE to start from. `decoder_only`: the encoder stays as it is, and with it
    latents that were cached and a transformer that was trained on them.
    """
    dev = run.device()
    torch.manual_seed(seed)
    vae = make()
    if init is not None:
        vae.load_state_dict(init.state_dict())
    vae.to(dev).train().requires_grad_(True)
    if decoder_only:
        _freeze_encoder(vae)
    top = 1.2e-3 if init is not None else 2.5e-3
    optimizer = muon.Optimizer(vae, top, lambda name, p: "conv_in" not in name and "conv_out" not in name)
    ema = run.Ema(vae, 0.998)
    name = "decoder" if decoder_only else "vae"
    stage = run.Stage(os.path.join(work, f"{name}.pt"), minutes, {"model": vae, "optimizer": optimizer, "ema": ema})
    shapes = _BATCHES[dev.type]
    workers = workers or max(1, (os.cpu_count() or 2) // 3)
    loaders = {}
    if not stage.done():
        loaders = {
            k: run.workers_loader(_Crops(shape, seed + 10 * stage.step + i, level), workers)
            for i, (k, shape) in enumerate(shapes.items())
        }
    rng = random.Random(seed + stage.step)
    while not stage.done():
        share = stage.share()
        lr = top * min(1, (stage.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-5
        optimizer.set_lr(lr)
        kind = _kind(rng, max(share, 0.5 if init is not None else 0))
        x = torch.as_tensor(next(loaders[kind])).to(dev, non_blocking=True).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        with run.autocast(dev):
            noise = _ROUGH if decoder_only else 0.1 if share > 0.3 or init is not None else 0.0
            loss, mse = _loss(vae, x, kl_weight, noise, decoder_only)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 0.5)
        optimizer.step()
        ema.update(vae)
        stage.step += 1
        if stage.step % 10 == 0:
            stage.log.append((stage.step, kind, mse.item()))
        if stage.step % 100 == 0:
            recent = {k: [m for _, q, m in stage.log[-60:] if q == k] for k in shapes}
            text = " ".join(f"{k} {10 * math.log10(4 / (sum(v) / len(v))):.2f} dB" for k, v in recent.items() if v)
            print(f"{name} {stage.used():.1f}/{minutes:.1f} min, step {stage.step}: {text}, lr {lr:.1e}", flush=True)
        if stage.due():
            stage.save()
    if loaders:
        stage.save()
    del loaders
    vae.load_state_dict(ema.values)
    vae.eval().requires_grad_(False)
    psnr, rows = measure(vae, dev, level) if dev.type == "cuda" else measure(vae, dev, level, clips=2, frames=65)
    print(f"{name} psnr", {k: round(v, 2) for k, v in psnr.items()}, flush=True)
    pictures.sheet(os.path.join(work, f"{name}.png"), rows)
    pictures.curves(
        os.path.join(work, f"{name}_loss.png"),
        {k: [m for _, q, m in stage.log if q == k] for k in shapes},
        f"{name}: squared error",
    )
    return vae
