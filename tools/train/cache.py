"""Clips encoded once to latents, with tokenised captions: what the transformer trains on.

Encoding a 97-frame clip takes longer than a training step of the transformer on it, so it is done once.
"""

import dataclasses
import glob
import os
import random

import numpy as np
import torch

from tools.clips import caption, render, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import PERIOD_X, PERIOD_Y, block_start_frame, guest_position, position
from tools.train import run, settings, whole

# What is cached: (latent frames, share of the time). Single pictures show as many things in a 26th of a clip's time.
# Clips of 25: blocks of 5, 4, 4, 4, 4, 4, so that the last ones see a full window. A CPU has no time to encode and train
# that much: 13, blocks of 5, 4, 4.
KINDS = {"cpu": {"images": (1, 0.25), "clips": (13, 0.75)}, "cuda": {"images": (1, 0.1), "clips": (25, 0.9)}}
WORDINGS = 6  # captions kept a scene, the first the plainest one; training draws one of them each time
_STANDING = 0.6  # share of the later parts of a slow object's story in which it stands still at first
_SHARD = {"cpu": 208, "cuda": 12800}  # latent frames, and of one call of the encoder
_BATCH = {"cpu": 13, "cuda": 800}


def object_mask(story, latents):
    """[latents, 10, 16] bool: cells that the object or its guest touches, give or take eight pixels."""
    h, w = settings.LATENT
    rows, columns = (np.arange(h) + 0.5) * 16, (np.arange(w) + 0.5) * 16
    reach = V.SIZES[story.first.size] + 8 + 6
    out = np.zeros((latents, h, w), bool)
    for i in range(latents):
        for frame in {max(0, 4 * i - 3), 4 * i}:
            x, y = position(story, frame)
            guest = story.at(frame)[0].guest
            if guest:
                gx, gy = guest_position(story, frame)
                near = V.SIZES[guest.size] + 8 + 6
                out[i] |= (np.abs(rows - gy) < near)[:, None] & (np.abs(columns - gx) < near)[None]
            for kx, ky in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
                inside_y = np.abs(rows - y - ky * PERIOD_Y) < reach
                inside_x = np.abs(columns - x - kx * PERIOD_X) < reach
                out[i] |= inside_y[:, None] & inside_x[None]
    return out


class _Clips(torch.utils.data.IterableDataset):
    """Endless (frames uint8, captions, switch block or 99, mask, first block to be learned, whether the object stands still at
    first), different in every worker.

    Two clips of three show a later part of a story: where it begins says nothing, but how it goes on is to be learned. In
    some of these a slow object stands still at first, as it may in the model's own past, and what is learned is how it sets
    out: without these, seven of ten slow ones had come to a stop by the end of a minute, half out of the frame; with them none.
    """

    def __init__(self, seed, level, latents):
        self.seed, self.level, self.latents = seed, V.LEVELS[level], latents

    def __iter__(self):
        import cv2

        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        while True:
            blocks = self.latents // settings.BLOCK
            switch = rng.randrange(1, blocks) if blocks > 1 and rng.random() < self.level.changes else None
            first = int(blocks > 1 and rng.random() < 2 / 3)
            story = sample_story(rng, switch, self.level, later=first > 0)
            if first and switch is None and story.first.speed == "slow" and rng.random() < _STANDING:
                first = rng.randrange(1, min(blocks, settings.WINDOW + 1))
                story = dataclasses.replace(story, stands=block_start_frame(first) - 1)
            texts = [[caption(s), *(caption(s, rng) for _ in range(WORDINGS - 1))] for s in (story.first, story.last)]
            mask = object_mask(story, self.latents)
            yield render(story, 0, 4 * self.latents - 3), texts, 99 if switch is None else switch, mask, first, bool(story.stands)


def _shards(work, kind):
    return sorted(glob.glob(os.path.join(work, f"{kind}_[0-9]*.pt")))


def build(work, vae, tokenizer, minutes, limit, level):
    """Writes shards of each kind until `minutes` are over or `limit` clips are there, and ten times as many images.

    `level`: of `clips.vocabulary.LEVELS`. Existing shards count.
    """
    for kind, (latents, share) in KINDS[run.device().type].items():
        _build(work, kind, latents, vae, tokenizer, share * minutes, limit if latents > 1 else 10 * limit, level)


@torch.no_grad()
def _build(work, kind, latents, vae, tokenizer, minutes, limit, level, seed=3):
    """One kind. A core draws 15 to 22 clips of 97 frames a second (Zen 5): on a machine with many of
    them, handing the frames over (12 MB a clip) is what limits.
    """
    dev = run.device()
    shard, batch = _SHARD[dev.type] // latents, _BATCH[dev.type] // latents
    stage = run.Stage(os.path.join(work, f"{kind}.pt"), minutes, {})
    shards = _shards(work, kind)
    if stage.done() or len(shards) * shard >= limit:
        return
    vae = vae.to(dev).eval()
    clips = _Clips(f"{seed}/{kind}/{len(shards)}", level, latents)
    loader = run.workers_loader(clips, max(1, (os.cpu_count() or 2) - 1))
    items, index = [], len(shards)
    while True:
        clips = [next(loader) for _ in range(batch)]
        video = torch.stack([torch.as_tensor(c[0]).to(dev) for c in clips])
        x = video.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        with run.autocast(dev):
            z = whole.encode(vae, x)[0]
        items += [(z[i].half().cpu(), *c[1:]) for i, c in enumerate(clips)]
        if len(items) >= shard:
            _write(os.path.join(work, f"{kind}_{index:04d}.pt"), items[:shard], tokenizer)
            items, index = items[shard:], index + 1
            stage.step = index * shard
            stage.save()
            print(f"cache {stage.used():.1f}/{minutes:.1f} min: {stage.step} {kind}", flush=True)
            if stage.done() or stage.step >= limit:
                break


def _write(path, items, tokenizer):
    flat = [text for item in items for texts in item[1] for text in texts]
    ids, _ = tokenizer.batch(flat)
    data = {
        "latents": torch.stack([item[0] for item in items]),  # [n, C, T, 10, 16]
        "ids": ids.view(len(items), 2, WORDINGS, -1).short(),
        "switch": torch.tensor([item[2] for item in items]),
        "mask": torch.stack([torch.as_tensor(item[3]) for item in items]),
        "first": torch.tensor([item[4] for item in items]),
        "stands": torch.tensor([item[5] for item in items]),
    }
    torch.save(data, path + ".new")
    os.replace(path + ".new", path)


def load(work, kind="clips"):
    """All shards of a kind joined, or None where there is none."""
    shards = [torch.load(p) for p in _shards(work, kind)]
    return {k: torch.cat([s[k] for s in shards]) for k in shards[0]} if shards else None


def statistics(latents):
    """Mean and deviation of each channel, rounded as the VAE's config.json will hold them."""
    x = latents.float()
    mean, std = x.mean((0, 2, 3, 4)), x.std((0, 2, 3, 4))
    return [round(v, 5) for v in mean.tolist()], [round(v, 5) for v in std.tolist()]
