"""Block-causal generation on diffusers' SanaVideoTransformer3DModel: the reference for constant-state passes.

diffusers has only the bidirectional pass. Here its own layers are called block by block, and what a layer has to
remember of earlier blocks is kept in a `State`:

    S     [h, d, d]     sum over committed tokens of value x rotated key
    z     [h, d]        sum of the keys without rotation
    tail  [1, D, 1, HW] input of the temporal convolution at the last committed frame

A state is empty, a running sum, or the contributions of the last `window` blocks, added oldest first.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F


@dataclass
class LayerMemory:
    """What one layer keeps of committed blocks."""

    contributions: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    tail: torch.Tensor | None = None

    def total(self) -> tuple[torch.Tensor | float, torch.Tensor | float]:
        total_s, total_z = 0.0, 0.0
        for s, z in self.contributions:
            total_s, total_z = total_s + s, total_z + z
        return total_s, total_z


class State:
    """The memory of all layers. window 0: running sum; k: the last k committed blocks."""

    def __init__(self, layers: int, window: int = 0):
        self.window = window
        self.layers = [LayerMemory() for _ in range(layers)]
        self.frames = 0

    def commit(self, pass_memory: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], frames: int) -> None:
        for layer, (s, z, tail) in zip(self.layers, pass_memory, strict=True):
            if self.window:
                layer.contributions = [*layer.contributions, (s, z)][-self.window :]
            else:
                total_s, total_z = layer.total()
                layer.contributions = [(total_s + s, total_z + z)]
            layer.tail = tail
        self.frames += frames


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    c, s = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([even * c - odd * s, even * s + odd * c], dim=-1).flatten(-2).type_as(x)


def _rotary(model, first_frame: int, frames: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [1, tokens, 1, d] of a block that begins at an absolute latent frame."""
    rope = model.rope
    tables = []
    for table in (rope.freqs_cos, rope.freqs_sin):
        t, h, w = table.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)
        grid = (frames, height, width)
        t = t[first_frame : first_frame + frames, None, None].expand(*grid, -1)
        h = h[None, :height, None].expand(*grid, -1)
        w = w[None, None, :width].expand(*grid, -1)
        tables.append(torch.cat([t, h, w], dim=-1).reshape(1, frames * height * width, 1, -1))
    return tables[0], tables[1]


def _self_attention(attention, x, cos, sin, memory: LayerMemory):
    """Linear attention over the block and the memory; returns the output and the block's own (S, z)."""

    def heads(tensor):
        return tensor.unflatten(2, (attention.heads, -1))

    query, key, value = attention.to_q(x), attention.to_k(x), heads(attention.to_v(x))
    if attention.norm_q is not None:
        query, key = attention.norm_q(query), attention.norm_k(key)
    query, key = F.relu(heads(query)), F.relu(heads(key))
    rotated_query, rotated_key = _rotate(query, cos, sin).float(), _rotate(key, cos, sin).float()
    query, key, value = query.float(), key.float(), value.float()

    own_s = torch.einsum("bnhv,bnhk->hvk", value, rotated_key)
    own_z = key.sum(dim=(0, 1))
    old_s, old_z = memory.total()
    numerator = torch.einsum("hvk,bnhk->bnhv", old_s + own_s, rotated_query)
    denominator = torch.einsum("hk,bnhk->bnh", old_z + own_z, query) + 1e-15
    out = (numerator / denominator[..., None]).flatten(2).to(x.dtype)
    return attention.to_out[0](out), own_s, own_z


def _feed_forward(ff, x, tail):
    """x [1,T,H,W,D]; the frame before the first is the tail (zeros at the start), after the last come zeros."""
    batch, frames, height, width, _ = x.shape
    y = x.reshape(batch * frames, height, width, -1).permute(0, 3, 1, 2)
    y = ff.conv_depth(F.silu(ff.conv_inverted(y)))
    value, gate = y.chunk(2, dim=1)
    y = ff.conv_point(value * F.silu(gate))
    y = y.unflatten(0, (batch, frames)).permute(0, 2, 1, 3, 4).flatten(3)  # 1, D, T, HW
    zero = torch.zeros_like(y[:, :, :1])
    padded = torch.cat([zero if tail is None else tail, y, zero], dim=2)
    mixed = y + F.conv2d(padded, ff.conv_temp.weight)
    return mixed.permute(0, 2, 3, 1).reshape(batch, frames, height, width, -1), y[:, :, -1:]


def block_pass(model, latents, timestep, caption, mask, state: State):
    """One pass over one block.

    latents [1,C,T,H,W]; timestep [1] or, one a frame, [T] float32; caption [1,L,W]; mask [1,L]. Returns the velocity
    [1,C,T,H,W] and for each layer the block's own (S, z, tail), which `State.commit` takes. The state itself is only read.
    """
    patch_t, patch_h, patch_w = model.config.patch_size
    _, _, frames, height, width = latents.shape
    frames, height, width = frames // patch_t, height // patch_h, width // patch_w
    cos, sin = _rotary(model, state.frames // patch_t, frames, height, width)

    h = model.patch_embedding(latents).flatten(2).transpose(1, 2)
    modulation, embedded = model.time_embed(timestep.flatten(), batch_size=1, hidden_dtype=h.dtype)
    modulation, embedded = modulation.view(1, -1, 6, h.shape[-1]), embedded.view(1, -1, h.shape[-1])
    if timestep.numel() > 1:  # a row for each token
        modulation, embedded = (x.repeat_interleave(height * width, 1) for x in (modulation, embedded))
    context = model.caption_norm(model.caption_projection(caption).view(1, -1, h.shape[-1]))
    bias = (1 - mask.to(h.dtype))[:, None] * -10000.0

    memory = []
    for block, layer in zip(model.transformer_blocks, state.layers, strict=True):
        shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + modulation).unbind(2)
        attended, s, z = _self_attention(block.attn1, block.norm1(h) * (1 + scale1) + shift1, cos, sin, layer)
        h = h + gate1 * attended
        h = h + block.attn2(h, encoder_hidden_states=context, attention_mask=bias)
        normed = (block.norm2(h) * (1 + scale2) + shift2).unflatten(1, (frames, height, width))
        mixed, tail = _feed_forward(block.ff, normed, layer.tail)
        h = h + gate2 * mixed.flatten(1, 3)
        memory.append((s, z, tail))

    h = model.proj_out(model.norm_out(h, embedded, model.scale_shift_table))
    h = h.reshape(1, frames, height, width, patch_t, patch_h, patch_w, -1)
    h = h.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return h, memory


def block_lengths(frames: int, block: int) -> list[int]:
    """Latent frames of each block; the first takes the remainder."""
    if frames < block:
        return [frames]
    return [block + frames % block] + [block] * (frames // block - 1)


def noise_level(timestep: float, shift: float) -> float:
    """The level nearest to t/1000 on the 1000-point shifted schedule."""
    u = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    levels = shift * u / (1 + (shift - 1) * u)
    return float(levels[(levels - timestep / 1000).abs().argmin()])


def few_step(model, noise, lengths, captions, settings: dict, one_pass=None, image=None):
    """Generates latents [C,T,H,W] from noise [steps,C,T,H,W].

    captions: (caption, mask), with guidance followed by the negative pair. Both branches read the one state, which the
    commit pass makes with the positive caption. one_pass: a (compiled) stand-in for block_pass.
    image: a first image's latent [C,1,H,W], the first frame of the first length: held within that block at timestep 0, or
    committed before it as a block of one frame, as settings["first_image"] says.
    """
    one_pass = one_pass or block_pass
    dtype = model.dtype
    timesteps = settings["timesteps"]
    levels = [noise_level(t, settings["shift"]) for t in timesteps]
    guidance = settings.get("guidance", 1.0)
    state = State(model.config.num_layers, settings.get("state_window_blocks", 0))

    def run(x, t, pair):
        timestep = torch.as_tensor(t, dtype=torch.float32).flatten()
        velocity, memory = one_pass(model, x.to(dtype), timestep, pair[0].to(dtype), pair[1], state)
        return velocity.float(), memory

    blocks = []
    first = 0
    use = settings.get("first_image", "none") if image is not None else "none"
    if use == "prefix":
        _, memory = run(image[None], 0.0, captions[0])
        state.commit(memory, 1)
        blocks.append(image)
        first, lengths = 1, [lengths[0] - 1, *lengths[1:]]
    for length in lengths:
        held = use == "held" and first == 0
        fresh = noise[:, None, :, first : first + length]
        x = fresh[0]
        for i, t in enumerate(timesteps):
            if held:
                x = torch.cat([image[None], x[:, :, 1:]], dim=2)
                t = [0.0] + [float(t)] * (length - 1)
            velocity, _ = run(x, t, captions[0])
            if guidance != 1.0:
                other, _ = run(x, t, captions[1])
                velocity = other + guidance * (velocity - other)
            x = x - levels[i] * velocity
            if i + 1 < len(timesteps):
                x = (1 - levels[i + 1]) * x + levels[i + 1] * fresh[i + 1]
        if held:
            x = torch.cat([image[None], x[:, :, 1:]], dim=2)
        _, memory = run(x, 0.0, captions[0])
        state.commit(memory, length)
        blocks.append(x[0])
        first += length
    return torch.cat(blocks, dim=1)
