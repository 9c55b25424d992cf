"""The transformer's stage: text encoder and DiT together, on cached latents, by teacher forcing."""

import os
import random

import torch

from tools.train import cache, dit, muon, pictures, run, settings
from tools.train.generate import Generator

# Latent frames of a training clip: clips a step. Each takes about as long.
_BATCHES = {"cpu": {1: 112, 5: 24, 13: 6}, "cuda": {1: 2048, 5: 512, 13: 192, 25: 96}}
_COPIES = 2  # noisy copies of a clip of several blocks: they share the work on its clean frames
# (up to this share of the stage, {latent frames: share of the steps}). Single images teach what a prompt looks like with
# five times as many things a step; the first block alone needs no clean past and teaches how they move; the longer clips
# teach to go on. Mixed, the later ones do not undo what the earlier ones taught.
_PHASES = {
    "cpu": ((0.2, {1: 1.0}), (0.6, {1: 0.1, 5: 0.5, 13: 0.4}), (1.0, {1: 0.05, 5: 0.25, 13: 0.7})),
    "cuda": (
        (0.15, {1: 1.0}),
        (0.35, {1: 0.1, 5: 0.9}),
        (0.65, {1: 0.1, 5: 0.3, 13: 0.6}),
        (1.0, {1: 0.1, 5: 0.2, 13: 0.2, 25: 0.5}),
    ),
}

_OBJECT_WEIGHT = 4.0  # the object is a few of 40 tokens: without more weight it comes late or never (measured)
# Share of the clips whose first frame is a picture that is given: clean, and told to be so. They may be later parts of a
# story, where the object is anywhere, for the picture says where.
_HELD = 0.3
_NO_CAPTION = 0.1  # share of clips trained without a caption, which guidance needs
# Guidance is trained into the weights: sampling then takes one pass a step, not two. From this share of the stage on the
# target moves on by this part of what the caption changes (Tang et al., Diffusion Models without Classifier-free
# Guidance, 2025), which has its fixed point at a guidance of 1 / (1 - 0.7) = 3.3.
_GUIDED_FROM, _GUIDE = 0.5, 0.7


def phases(device, go_on):
    """_PHASES of a device; `go_on`: without the first, images alone."""
    if not go_on:
        return _PHASES[device]
    images = _PHASES[device][0][0]
    return tuple(((until - images) / (1 - images), mix) for until, mix in _PHASES[device][1:])


def _is_matrix(name, p):
    """What Muon takes; AdamW has the rest: embeddings, in- and output, the depthwise 3x3, tables, norms."""
    return ("transformer_blocks" in name or "layers." in name) and "table" not in name and "conv_depth" not in name


class _Data:
    """Cached clips on the device, normalised; batches with one wording of each caption."""

    def __init__(self, data, mean, std, dev):
        view = (1, -1, 1, 1, 1)
        mean, std = torch.tensor(mean, device=dev).view(view), torch.tensor(std, device=dev).view(view)
        self.latents = torch.cat([((part.to(dev).float() - mean) / std).half() for part in data["latents"].split(512)])
        self.ids, self.switch, self.mask = (data[k].to(dev) for k in ("ids", "switch", "mask"))
        self.first, self.stands = (data[k].to(dev) for k in ("first", "stands"))

    def batch(self, n, frames, empty):
        """The first frames of n clips: x0 [n, C, frames, H, W], ids [n, 2, L], switch block [n], weight [n, 1, frames, H, W],
        whether the first frame is held [n].

        The prompt changes in all of them or in none: two captions a clip cost more in cross-attention. Blocks before the first
        one that is to be learned are only what the others go on from: they weigh nothing. Nor does a held frame.
        """
        lengths = settings.block_lengths(frames)
        pool = (self.first < len(lengths)).nonzero()[:, 0]
        changes = self.switch[pool] < len(lengths)
        pool = pool[changes == changes[torch.randint(len(pool), (1,))]]
        i = pool[torch.randint(len(pool), (n,), device=pool.device)]
        wording = torch.randint(self.ids.shape[2], (n,), device=i.device)
        ids = self.ids[i, :, wording].long()
        ids[torch.rand(n, device=i.device) < _NO_CAPTION] = empty
        weight = 1 + _OBJECT_WEIGHT * self.mask[i, None, :frames]
        held = (torch.rand(n, device=i.device) < _HELD) & ~self.stands[i] & (frames > 1)
        learned = dit.block_of(lengths).to(i.device) >= (self.first[i] * ~held)[:, None]  # [n, frames]
        learned[:, 0] &= ~held
        weight = weight * learned[:, None, :, None, None]
        return self.latents[i, :, :frames].float(), ids, self.switch[i], weight, held


def _levels(n, blocks, dev, shift=2.5):
    """Noise levels in 0…1, one a block; the shift puts more of them where the picture is decided."""
    u = torch.rand(n, blocks, device=dev)
    return shift * u / (1 + (shift - 1) * u)


def guided(target, v, without):
    """The target moved on by what the caption changes; `without`: the velocity without one."""
    return target + _GUIDE * (v.detach() - without)


def _velocity_loss(v, target, true, weight):
    """(weighted squared error of the velocity against the target, and against the true one in the object's cells)."""
    error = (v - target).pow(2)
    loss = (error * weight).sum() / (weight.sum() * target.shape[1])
    mask = weight > 1
    true_error = (v.detach() - true).pow(2)
    return loss, (true_error * mask).sum() / (mask.sum() * target.shape[1] + 1)


class _Step:
    """Losses on batches of one clip length."""

    def __init__(self, frames, empty, dev):
        lengths = settings.block_lengths(frames)
        self.frames, self.blocks = frames, len(lengths)
        self.block = dit.block_of(lengths).to(dev)
        self.teacher = dit.Teacher(lengths, dev)
        self.empty = empty[None]  # no caption's tokens [1, L]

    def __call__(self, models, batch, dev, own_output, guide):
        x0, ids, switch, weight, held = batch
        dtype = models["dit"].proj_out.weight.dtype
        n = len(x0)
        copies = _COPIES if self.blocks > 1 else 1
        copied = x0.repeat(copies, 1, 1, 1, 1)
        level = _levels(len(copied), self.blocks, dev)[:, self.block]
        level[:, 0] *= ~held.repeat(copies)
        grid = level[:, None, :, None, None]
        noise = torch.randn_like(copied)
        noisy = (1 - grid) * copied + grid * noise
        clean, choice = x0, None
        captions = 2 if bool((switch < self.blocks).any()) else 1
        if captions == 2:
            after = (self.block[None] >= switch[:, None]).long()
            early = (self.block[None] + 1 >= switch[:, None]).long()
            choice = torch.stack([after, early])
        ids = ids[:, :captions, : int((ids != 0).sum(-1).max())]  # no wider than the longest caption
        caption, bias = dit.encode_text(models, ids.flatten(0, 1), (ids != 0).long().flatten(0, 1))
        caption, bias = caption.unflatten(0, (n, captions)), bias.unflatten(0, (n, captions))
        if self.blocks > 1:
            clean = x0 + 0.15 * torch.rand(n, 1, 1, 1, 1, device=dev) * torch.randn_like(x0)
            if own_output:
                clean = self._own(models, x0, clean, caption, bias, choice, dev, dtype)
        noisy, t = noisy.to(dtype), 1000 * level
        v, past = self.teacher(models, noisy, clean.to(dtype), t, caption, bias, choice)
        v, target, weight = v.float(), noise - copied, weight.repeat(copies, 1, 1, 1, 1)
        if not guide:
            return _velocity_loss(v, target, target, weight)
        with torch.no_grad():
            empty = self.empty[:, : ids.shape[-1]]
            caption, bias = dit.encode_text(models, empty, (empty != 0).long())
            none = (x[None].expand(n, *x.shape) for x in (caption, bias))  # one caption a clip
            without, _ = self.teacher(models, noisy, None, t, *none, past=past)  # of the past that the caption gave
        return _velocity_loss(v, guided(target, v, without.float()), target, weight)

    @torch.no_grad()
    def _own(self, models, x0, clean, caption, bias, choice, dev, dtype):
        """Half of the clips see as their past what the model itself makes of a half-noised past: that is what it
        will see when it runs on its own."""
        n, frames = len(x0), x0.shape[2]
        rough = (0.35 + 0.4 * torch.rand(n, 1, 1, 1, 1, device=dev)).expand(n, 1, frames, 1, 1)
        start = (1 - rough) * x0 + rough * torch.randn_like(x0)
        rough_t = 1000 * rough[:, 0, :, 0, 0]
        v, _ = self.teacher(models, start.to(dtype), clean.to(dtype), rough_t, caption, bias, choice)
        return torch.where(torch.rand(n, 1, 1, 1, 1, device=dev) < 0.5, start - rough * v.float(), clean)


_SHEET = (
    "a red ball moves right over the meadow under a blue sky",
    "a big yellow star moves left over the sea at night",
    "a blue car moves right slowly over the desert at sunset",
    "a purple balloon rises over the snow in the fog",
    "a green fish moves left over the sea under a blue sky",
    "an orange rocket rises quickly over the meadow at night",
)


def _begin_from(models, tok, old, old_tok):
    """Takes over weights; of another tokenizer's embeddings, those of the pieces that both have."""
    models["dit"].load_state_dict(old["dit"].state_dict())
    weights = old["text"].state_dict()
    name = "embed_tokens.weight"
    table = models["text"].state_dict()[name].clone()
    rows = {old_tok.model.id_to_piece(i): i for i in range(len(old_tok))}
    for i in range(len(tok)):
        row = rows.get(tok.model.id_to_piece(i))
        if row is not None:
            table[i] = weights[name][row]
    models["text"].load_state_dict({**weights, name: table})


def train(work, minutes, vae, stats, tok, init=None, go_on=False, seed=1):
    """Trains for `minutes` in total (earlier runs counted); returns the averaged models in float32.

    `stats`: (mean, std) of the latents' channels. `init`: (models, tokenizer) to start from, or None. `go_on`: they know
    single images and guidance already.
    """
    dev = run.device()
    torch.manual_seed(seed)
    models = dit.make(len(tok))
    if init is not None:
        _begin_from(models, tok, *init)
    models.to(dev).train()
    top = 6e-4 if go_on else 1e-3 if init is not None else 1.5e-3
    twin = run.Twin(models)
    optimizer = muon.Optimizer(models, top, _is_matrix, 0.01)
    ema = run.Ema(models, 0.998)
    stage = run.Stage(os.path.join(work, "dit.pt"), minutes, {"models": models, "optimizer": optimizer, "ema": ema})
    averaged = dit.make(len(tok)).to(dev).eval().requires_grad_(False)
    if not stage.done():
        torch.manual_seed(seed + stage.step)
        steps = {}
        clips, images = (_Data(cache.load(work, kind), *stats, dev) for kind in ("clips", "images"))
        empty = torch.tensor(tok.encode(""), device=dev)
        rng = random.Random(seed + stage.step)
    trained = not stage.done()
    # Sampling is cheap beside a GPU's stage; on a CPU it is minutes of training, so only the end is looked at.
    sheet_every = minutes / (5 if dev.type == "cuda" else 2)
    sheet_at = stage.used() + sheet_every
    while not stage.done():
        share = stage.share()
        lr = top * min(1, (stage.step + 1) / 50) * (min(1, (1 - share) / 0.65) + 0.01)
        optimizer.set_lr(lr)
        own_output = rng.random() < (0.5 if go_on else 0.3 if share > 0.6 else 0.0)  # early output is no past to go on from
        mix = next(mix for until, mix in phases(dev.type, go_on) if share < until or until == 1.0)
        frames = rng.choices(list(mix), mix.values())[0]
        if frames not in steps:
            steps[frames] = _Step(frames, empty, dev)
        twin.load()
        batch = (images if frames == 1 else clips).batch(_BATCHES[dev.type][frames], frames, empty)
        loss, object_error = steps[frames](twin.module, batch, dev, own_output, go_on or share > _GUIDED_FROM)
        optimizer.zero_grad()
        loss.backward()
        twin.give_gradients()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimizer.step()
        ema.update(models)
        stage.step += 1
        stage.log.append((stage.step, loss.item(), object_error.item(), frames))
        if stage.step % 100 == 0:
            text = f"{_means(stage.log[-100:])}, lr {lr:.1e}"
            print(f"dit {stage.used():.1f}/{minutes:.1f} min, step {stage.step}: {text}", flush=True)
        if stage.due():
            stage.save()
        if stage.used() > sheet_at:
            sheet_at += sheet_every
            averaged.load_state_dict(ema.values)
            sheets(work, averaged, vae, stats, tok, stage, seconds=3)
    if trained:
        stage.save()
    averaged.load_state_dict(ema.values)
    sheets(work, averaged, vae, stats, tok, stage, seconds=20 if dev.type == "cuda" else 4)
    return averaged


def _means(log):
    """Loss and object's error of a stretch of the log, by clip length."""
    parts = []
    for frames in sorted({r[3] for r in log}):
        of = [r for r in log if r[3] == frames]
        loss, found = (sum(r[k] for r in of) / len(of) for k in (1, 2))
        parts.append(f"{frames} frames {loss:.4f} (object {found:.4f})")
    return ", ".join(parts)


def sheets(work, models, vae, stats, tok, stage, seconds):
    """Sample sheet (six prompts, six moments) and loss curves."""
    generator = Generator(models, vae, stats, tok)
    latents = generator.latents(_SHEET, generator.latent_frames(seconds), seed=5)
    rows = []
    for i in range(len(_SHEET)):
        frames = generator.decode(latents[i : i + 1])[0]
        rows.append(frames[torch.linspace(0, len(frames) - 1, 6).long().numpy()])
    pictures.sheet(os.path.join(work, f"dit_{stage.step:06d}.png"), rows)
    series = {f"{n} frames": [r[1] for r in stage.log if r[3] == n] for n in sorted({r[3] for r in stage.log})}
    pictures.curves(os.path.join(work, "dit_loss.png"), series, "transformer: squared error of the velocity")
