"""The block-causal DiT on diffusers' own modules and names.

Two ways through the same weights: `Teacher` trains every block of a clip at once, each seeing the clean
blocks of its window; `Streamer` makes one block after the other with a constant state. `test_dit.py` shows
that they are equal.
"""

import torch
import torch.nn.functional as F
from diffusers import SanaVideoTransformer3DModel
from torch import nn
from transformers import Gemma2Config, Gemma2Model

from tools.train import settings as S
from tools.train import tokenizer
from tools.train.fused import gated, modulate, norm_relu, swish_gate


def make(vocabulary=S.VOCABULARY):
    """An untrained transformer and text encoder. Branches start almost closed, the output starts at zero, words far apart."""
    dit = SanaVideoTransformer3DModel(
        in_channels=S.LATENT_CHANNELS,
        out_channels=S.LATENT_CHANNELS,
        num_attention_heads=S.HEADS,
        attention_head_dim=S.HEAD_WIDTH,
        num_layers=S.LAYERS,
        num_cross_attention_heads=S.HEADS,
        cross_attention_head_dim=S.HEAD_WIDTH,
        cross_attention_dim=S.WIDTH,
        caption_channels=S.CAPTION_WIDTH,
        mlp_ratio=2.0,
        patch_size=(1, 2, 2),
    )
    for block in dit.transformer_blocks:
        block.scale_shift_table.data.zero_()
        block.scale_shift_table.data[2] = block.scale_shift_table.data[5] = 0.3  # the two gates
        nn.init.zeros_(block.ff.conv_temp.weight)
        nn.init.zeros_(block.attn2.to_out[0].weight)
    dit.caption_norm.weight.data.fill_(1.0)
    nn.init.zeros_(dit.proj_out.weight)
    nn.init.zeros_(dit.proj_out.bias)
    text = Gemma2Model(
        Gemma2Config(
            hidden_size=S.CAPTION_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            intermediate_size=256,
            vocab_size=vocabulary,
            query_pre_attn_scalar=32,
            pad_token_id=tokenizer.PAD,
            bos_token_id=tokenizer.BOS,
            eos_token_id=None,
            use_cache=False,
            attn_implementation="eager",
        )
    )
    # Words that training cannot tell apart at first (left and right, until things move) must not become one: from the usual
    # deviation of 0.02 what they share outgrows what they differ by (cosine 0.73, and objects came from both sides at once).
    table = text.embed_tokens.weight.data
    table.normal_(std=table.shape[1] ** -0.5)
    table[tokenizer.PAD] = 0
    return nn.ModuleDict({"dit": dit, "text": text})


def encode_text(models, ids, mask):
    """ids, mask [n, L] → caption [n, L, D] as the cross-attention takes it, and its additive mask [n, 1, 1, L]."""
    hidden = models["text"](input_ids=ids, attention_mask=mask).last_hidden_state
    dit = models["dit"]
    return dit.caption_norm(dit.caption_projection(hidden)), (mask.float() - 1)[:, None, None] * 10000.0


def _rope(dit, first, frames, height, width, dtype):
    """cos, sin [frames, height*width, 1, head] for frames first … first+frames-1, and the swap of pairs [head, head]."""
    r = dit.rope
    parts = []
    for table in (r.freqs_cos, r.freqs_sin):
        t, h, w = table.split([r.t_dim, r.h_dim, r.w_dim], 1)
        grid = (frames, height, width, -1)
        full = [
            t[first : first + frames, None, None].expand(grid),
            h[None, :height, None].expand(grid),
            w[None, None, :width].expand(grid),
        ]
        parts.append(torch.cat(full, -1).reshape(frames, height * width, 1, -1).to(dtype))
    pair = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], device=table.device, dtype=dtype)
    return *parts, torch.block_diag(*[pair] * (parts[0].shape[-1] // 2))


def _rotate(x, cos, sin, swap):
    """(a cos − b sin, b cos + a sin) of each pair (a, b): the swap is a small matrix product, slices would be copies."""
    return torch.addcmul(x * cos, x @ swap, sin)


def _qkv(attn, n, rope):
    """n [B, T, N, D] → q, k, rotated q, rotated k, v, each [B, T, N, h, d]."""
    q = norm_relu(attn.norm_q, attn.to_q(n)).unflatten(-1, (attn.heads, -1))
    k = norm_relu(attn.norm_k, attn.to_k(n)).unflatten(-1, (attn.heads, -1))
    v = attn.to_v(n).unflatten(-1, (attn.heads, -1))
    return q, k, _rotate(q, *rope), _rotate(k, *rope), v


def _frame_sums(k, kr, v):
    """Each frame's share of the state: S [B, T, h, d, d] (value x key) and z [B, T, h, d]."""
    s = v.permute(0, 1, 3, 4, 2) @ kr.permute(0, 1, 3, 2, 4)
    return s, (k.new_ones(1, k.shape[2]) @ k.flatten(3)).view(*k.shape[:2], *k.shape[3:])


def _attend(attn, q, qr, s, z):
    """Reads S and z [B, T, h, …] at every token; returns [B, T, N, D]."""
    out = qr.permute(0, 1, 3, 2, 4) @ s.transpose(-1, -2)  # B, T, h, N, d
    weight = q.permute(0, 1, 3, 2, 4) @ z[..., None] + 1e-15
    return attn.to_out[0]((out / weight).permute(0, 1, 3, 2, 4).flatten(-2))


def _caption_kv(attn, caption):
    """[n, L, D] → k, v [n, L, h, d]."""
    k = attn.norm_k(attn.to_k(caption)).unflatten(-1, (attn.heads, -1))
    return k, attn.to_v(caption).unflatten(-1, (attn.heads, -1))


def _cross(attn, h, k, v, bias):
    """h [b, N, D] against k, v [b, L, h, d]; bias [b, 1, 1, L]."""
    q = attn.norm_q(attn.to_q(h)).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    k, v = k.permute(0, 2, 3, 1), v.transpose(1, 2)
    # Written out: torch's fused kernel takes 2.5 times as long for 40 keys of 32 numbers on a CPU, backward above all.
    scores = (q * k.shape[2] ** -0.5) @ k
    out = torch.softmax(scores.float() + bias, -1).to(v.dtype) @ v
    return attn.to_out[0](out.transpose(1, 2).flatten(2))


def _ffn(ff, n, height, width):
    """The per-frame part of the FFN: [B, T, N, D] → [B, T, N, D]."""
    shape = n.shape
    x = F.silu(F.linear(n, ff.conv_inverted.weight[:, :, 0, 0], ff.conv_inverted.bias))
    x = x.reshape(-1, height, width, x.shape[-1]).permute(0, 3, 1, 2)
    x = swish_gate(ff.conv_depth(x).permute(0, 2, 3, 1))
    return F.linear(x, ff.conv_point.weight[:, :, 0, 0]).reshape(shape)


def _temporal(ff, y, left, right):
    weight = ff.conv_temp.weight[..., 0].transpose(1, 2).flatten(1)
    return y + F.linear(torch.cat([left, y, right], -1), weight)


def _neighbours(y, before=None):
    """[B, T, N, D] → the frame before each, `before` the first one's, and the frame after it; zeros where there is none."""
    zero = torch.zeros_like(y[:, :1])
    return torch.cat([zero if before is None else before, y[:, :-1]], 1), torch.cat([y[:, 1:], zero], 1)


def _modulation(dit, t):
    """t [B, T] → six modulations [B, T, 6, D] and the embedding [B, T, D]."""
    mod, embedding = dit.time_embed(t.flatten(), batch_size=t.numel(), hidden_dtype=dit.scale_shift_table.dtype)
    return mod.view(*t.shape, 6, -1), embedding.view(*t.shape, -1)


def _tokens(dit, x):
    """[B, C, T, H, W] → [B, T, N, D]."""
    return dit.patch_embedding(x).permute(0, 2, 3, 4, 1).flatten(2, 3)


def _velocity(dit, h, embedding, height, width):
    """[B, T, N, D] → [B, C, T, H, W]."""
    shift, scale = (dit.scale_shift_table + embedding[:, :, None]).unbind(2)
    h = dit.proj_out(modulate(dit.norm_out.norm(h), scale, shift))
    b, t = h.shape[:2]
    h = h.view(b, t, height, width, 2, 2, -1).permute(0, 6, 1, 2, 4, 3, 5)
    return h.reshape(b, -1, t, 2 * height, 2 * width)


def block_of(lengths):
    """Block of each latent frame [sum of lengths]."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


class Teacher:
    """Velocities of all blocks at once, each from its noisy frames and the clean blocks before it.

    A clip of a single block has no past, so no clean stream is computed for it: half of the work.
    """

    def __init__(self, lengths, device, window=S.WINDOW):
        block = block_of(lengths)
        behind = block[:, None] - block[None]
        self.own = (behind == 0).float().to(device)
        self.past = ((behind > 0) & (behind <= window)).float().to(device)
        first = torch.ones(len(block), dtype=torch.bool)
        first[1:] = block[1:] != block[:-1]
        last = torch.ones(len(block), dtype=torch.bool)
        last[:-1] = block[1:] != block[:-1]
        self.first, self.last = (x[None, :, None, None].to(device) for x in (first, last))
        self.has_past = len(lengths) > 1

    def __call__(self, models, noisy, clean, t, caption, bias, choice=None, past=None):
        """Velocities of noisy frames [K B, C, T, H, W], and the past that they saw, for calls to come.

        noisy: K noisy copies of each of B clips, copy by copy, that share the work on the clips' clean frames `clean`
        [B, C, T, H, W]; t [K B, T] in 0…1000, equal inside a block. With `past` of a call before, `clean` is not looked at.

        caption [B, V, L, D], bias [B, V, 1, 1, L]: V captions a clip; choice i64 [2, B, T] says which one each
        frame sees, for the noisy stream and for the clean one (a prompt switch commits the last block anew with
        the new prompt, so there the clean stream changes one block earlier). Without `choice`, all see the first.
        """
        dit, count = models["dit"], len(noisy)
        frames, height, width = noisy.shape[2], noisy.shape[3] // 2, noisy.shape[4] // 2
        rope = _rope(dit, 0, frames, height, width, noisy.dtype)
        copies = count // len(caption)
        x, groups = noisy, copies  # rows of one caption a clip are repeated so often
        if self.has_past and past is None:
            x, groups = torch.cat([noisy, clean]), copies + 1
            t = torch.cat([t, torch.zeros_like(t[: len(clean)])])
        h = _tokens(dit, x)
        mod, embedding = _modulation(dit, t)
        pick = None
        if choice is None:
            caption, bias = caption[:, 0], bias[:, 0].repeat(groups, 1, 1, 1)
        else:
            rows = torch.arange(len(caption), device=h.device)[:, None] * caption.shape[1]
            own, committed = (rows + choice).unbind()  # rows of the flattened captions, one a frame
            pick = torch.cat([own] * copies + [committed] * (groups - copies)).flatten()
            caption, bias = caption.flatten(0, 1), bias.flatten(0, 1)[pick]
        seen = []
        for i, block in enumerate(dit.transformer_blocks):
            shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + mod).unbind(2)
            q, k, qr, kr, v = _qkv(block.attn1, modulate(block.norm1(h), scale1, shift1), rope)
            sums = _frame_sums(k, kr, v)
            if self.has_past:
                earlier = past[i][:2] if past else [_mixed(self.past, x[count:]) for x in sums]
                s, z = (_mixed(self.own, x) + torch.cat([e] * groups) for x, e in zip(sums, earlier, strict=True))
            else:
                s, z = (x.sum(1, keepdim=True).expand_as(x) for x in sums)
            h = gated(h, gate1, _attend(block.attn1, q, qr, s, z))
            ck, cv = _caption_kv(block.attn2, caption)
            if pick is None:  # one caption a clip: all its tokens are queries of one attention
                ck, cv = (x.repeat(groups, 1, 1, 1) for x in (ck, cv))
                h = h + _cross(block.attn2, h.flatten(1, 2), ck, cv, bias).view_as(h)
            else:
                h = h + _cross(block.attn2, h.flatten(0, 1), ck[pick], cv[pick], bias).view_as(h)
            y = _ffn(block.ff, modulate(block.norm2(h), scale2, shift2), height, width)
            left, right = _neighbours(y)
            if self.has_past:
                tail = past[i][2] if past else left[count:]
                noisy_left = torch.where(self.first, torch.cat([tail] * copies), left[:count])
                left, right = torch.cat([noisy_left, left[count:]]), right * ~self.last
                seen.append([x.detach() for x in (*earlier, tail)])
            h = gated(h, gate2, _temporal(block.ff, y, left, right))
        return _velocity(dit, h[:count], embedding[:count], height, width), seen


def _mixed(weights, sums):
    """Frame sums [B, T, …] → what each frame sees of them, by weights [T, T]."""
    return (weights.to(sums.dtype) @ sums.flatten(2)).view_as(sums)


class Streamer:
    """Makes blocks in order. Holds, a layer, the last WINDOW blocks' sums and the temporal convolution's tail."""

    def __init__(self, models, window=S.WINDOW):
        self.models, self.window = models, window
        layers = len(models["dit"].transformer_blocks)
        self.rings = [[] for _ in range(layers)]
        self.tails = [None] * layers
        self.position = 0  # latent frames committed
        self._before = None

    def velocity(self, x, t, caption, bias):
        """x [B, C, F, H, W] at position; t a number in 0…1000; reads the state, changes nothing."""
        return self._pass(x, t, caption, bias)[0]

    def commit(self, x0, caption, bias):
        """Adds a finished block to the state: one pass at t = 0."""
        _, sums, tails = self._pass(x0, 0.0, caption, bias)
        self._before = ([list(r) for r in self.rings], list(self.tails), self.position, x0)
        for ring, entry in zip(self.rings, sums, strict=True):
            ring.append(entry)
            del ring[: -self.window]
        self.tails = tails
        self.position += x0.shape[2]

    def recommit(self, caption, bias):
        """Prompt switch: the last block is committed anew with another caption, from the state before it."""
        self.rings, self.tails, self.position, x0 = self._before
        self.commit(x0, caption, bias)

    def _pass(self, x, t, caption, bias):
        dit = self.models["dit"]
        frames, height, width = x.shape[2], x.shape[3] // 2, x.shape[4] // 2
        rope = _rope(dit, self.position, frames, height, width, x.dtype)
        h = _tokens(dit, x)
        mod, embedding = _modulation(dit, torch.full(h.shape[:2], float(t), device=h.device))
        sums, tails = [], []
        for block, ring, tail in zip(dit.transformer_blocks, self.rings, self.tails, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + mod).unbind(2)
            q, k, qr, kr, v = _qkv(block.attn1, modulate(block.norm1(h), scale1, shift1), rope)
            s, z = (x.sum(1, keepdim=True) for x in _frame_sums(k, kr, v))
            sums.append((s, z))
            for old_s, old_z in ring:
                s, z = s + old_s, z + old_z
            h = gated(h, gate1, _attend(block.attn1, q, qr, s, z))
            k, v = _caption_kv(block.attn2, caption)
            h = h + _cross(block.attn2, h.flatten(1, 2), k, v, bias).view_as(h)
            y = _ffn(block.ff, modulate(block.norm2(h), scale2, shift2), height, width)
            tails.append(y[:, -1:])
            h = gated(h, gate2, _temporal(block.ff, y, *_neighbours(y, tail)))
        return _velocity(dit, h, embedding, height, width), sums, tails
