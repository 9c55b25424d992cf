"""Cases of SANA-Video 2.0's transformer, which diffusers does not have: a plain torch module over the names of NVlabs'
checkpoints."""

import json
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from tools.export.folder import DTYPES, ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.transformer import Inputs, bidirectional_inputs, denoise, guided_velocity, random_scheduler
from tools.export.weights import randomize


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight.float()).to(x.dtype)


def rotation(frames: int, height: int, width: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [tokens, 1, head_dim / 2]; axes t, h, w."""
    side = 2 * (head_dim // 6)
    angles = []
    for axis, (count, extent) in enumerate([(head_dim - 2 * side, frames), (side, height), (side, width)]):
        frequencies = 10000 ** -(torch.arange(0, count, 2).double() / count)
        angle = torch.arange(extent).double()[:, None] * frequencies
        shape = [1, 1, 1, count // 2]
        shape[axis] = extent
        angles.append(angle.view(shape).expand(frames, height, width, -1))
    angle = torch.cat(angles, -1).reshape(-1, 1, head_dim // 2)
    return angle.cos(), angle.sin()


def rotated(x: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = angles
    a, b = x.double().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cosines - b * sines, a * sines + b * cosines), -1).flatten(-2).to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, width: int, head_dim: int, softmax: bool):
        super().__init__()
        self.head_dim, self.softmax = head_dim, softmax
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = RmsNorm(width, 1e-5), RmsNorm(width, 1e-5)
        self.proj, self.output_gate = nn.Linear(width, width), nn.Linear(width, width)
        if not softmax:
            self.beta_proj, self.o_norm = nn.Linear(width, width // head_dim), RmsNorm(head_dim, 1e-5)

    def forward(self, x: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """x [N, D]."""
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (-1, self.head_dim)) for t in (self.q_norm(q), self.k_norm(k), v))
        angles = rotation(*grid, self.head_dim)
        turned_q, turned_k = rotated(q, angles), rotated(k, angles)
        if self.softmax:
            heads = (t.transpose(0, 1) for t in (turned_q, turned_k, v))
            out = F.scaled_dot_product_attention(*heads).transpose(0, 1)
        else:
            gate = torch.sigmoid(self.beta_proj(x)).unsqueeze(-1)
            state = torch.einsum("nhv,nhk->hvk", v.float(), (turned_k * gate).float())
            total = k.relu().float().sum(0)
            norm = torch.einsum("nhk,hk->nh", q.relu().float(), total).unsqueeze(-1) + 1e-8
            out = self.o_norm((torch.einsum("hvk,nhk->nhv", state, turned_q.float()) / norm).to(x.dtype))
        return self.proj(out.flatten(1) * torch.sigmoid(self.output_gate(x)))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_linear, self.kv_linear, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.q_norm, self.k_norm = RmsNorm(width, 1e-6), RmsNorm(width, 1e-6)

    def forward(self, x: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        k, v = self.kv_linear(caption).chunk(2, -1)
        parts = (self.q_norm(self.q_linear(x)), self.k_norm(k), v)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(0, 1) for t in parts)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            nn.Linear(width, hidden),
            nn.Linear(width, hidden),
            nn.Linear(hidden, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config: dict, softmax: bool):
        super().__init__()
        width = config["width"]
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width))
        self.attn = SelfAttention(width, config["softmax_head_dim" if softmax else "linear_head_dim"], softmax)
        self.cross_attn = CrossAttention(width, config["cross_heads"])
        self.mlp = Mlp(width, config["ffn_ratio"] * width)


class Named(nn.Module):
    """Modules under their names in the file."""

    def __init__(self, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class SanaVideo2(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        width, channels, layers = config["width"], config["channels"], config["layers"]
        patch = tuple(config["patch_size"])
        count = max(1, int(layers * config["softmax_ratio"]))
        softmax = {(i + 1) * layers // count - 1 for i in range(count)}
        self.x_embedder = Named(proj=nn.Conv3d(channels, width, patch, patch))
        self.t_embedder = Named(mlp=nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width)))
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        caption = Named(fc1=nn.Linear(config["caption_channels"], width), fc2=nn.Linear(width, width))
        self.y_embedder = Named(y_proj=caption)
        self.attention_y_norm = RmsNorm(width, 1e-5)
        self.blocks = nn.ModuleList(Block(config, i in softmax) for i in range(layers))
        names = ("attn_proj", "mlp_proj", "final_proj")
        self.attn_res = Named(**{name: nn.Linear(width, 1, bias=False) for name in names})
        self.final_layer = Named(linear=nn.Linear(width, channels * math.prod(patch)))
        self.final_layer.scale_shift_table = nn.Parameter(torch.zeros(2, width))

    @property
    def dtype(self) -> torch.dtype:
        return self.attention_y_norm.weight.dtype

    def _gather(self, which: str, sources: list[torch.Tensor]) -> torch.Tensor:
        values = torch.stack(sources)
        keys = values * torch.rsqrt(values.square().mean(-1, keepdim=True) + 1e-6)
        scores = keys @ getattr(self.attn_res, which).weight[0].to(values.dtype)
        return (torch.softmax(scores, 0).unsqueeze(-1) * values).sum(0)

    def forward(self, x: torch.Tensor, t: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """One sample. x [C, T, H, W], t [1] or [T], caption [L, W], valid rows alone."""
        patch, width = self.config["patch_size"], self.config["width"]
        grid = tuple(extent // p for extent, p in zip(x.shape[1:], patch, strict=True))
        embedded = self.x_embedder.proj(x[None])[0].flatten(1).t().float()
        t = t.long().float()  # NVlabs' model takes whole numbers
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(128) / 128)
        sinusoids = torch.cat(((t[:, None] * frequencies).cos(), (t[:, None] * frequencies).sin()), -1)
        e = self.t_embedder.mlp(sinusoids.to(x.dtype))
        t6 = self.t_block(e).view(-1, 6, width)
        rows = math.prod(grid) // len(t)

        def modulation(table: torch.Tensor, by_time: torch.Tensor) -> list[torch.Tensor]:
            return [part.repeat_interleave(rows, 0) for part in (table.float() + by_time.float()).unbind(1)]

        def modulated(value: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return (F.layer_norm(value, (width,), eps=1e-6) * (1 + scale) + shift).to(x.dtype)

        y = self.y_embedder.y_proj.fc2(F.gelu(self.y_embedder.y_proj.fc1(caption), approximate="tanh"))
        y = self.attention_y_norm(y)
        done, part = [embedded], None
        for index, block in enumerate(self.blocks):
            shift1, scale1, gate1, shift2, scale2, gate2 = modulation(block.scale_shift_table, t6)
            u = self._gather("attn_proj", done + ([] if part is None else [part]))
            a = gate1 * block.attn(modulated(u, shift1, scale1), grid).float()
            a = a + block.cross_attn((u + a).to(x.dtype), y).float()
            part = a if part is None else part + a
            u = self._gather("mlp_proj", [*done, part])
            part = part + gate2 * block.mlp(modulated(u, shift2, scale2)).float()
            if (index + 1) % self.config["residual_block"] == 0 or index + 1 == len(self.blocks):
                done, part = [*done, part], None
        shift, scale = modulation(self.final_layer.scale_shift_table, e[:, None])
        out = self.final_layer.linear(modulated(self._gather("final_proj", done), shift, scale))
        # [frames, rows, columns, patch, channels] to [C, T, H, W]
        out = out.view(*grid, *patch, -1).permute(6, 0, 3, 1, 4, 2, 5)
        return out.reshape(-1, *x.shape[1:]).float()


def random_config(rng: random.Random) -> dict:
    linear, softmax = rng.choice([(8, 16), (12, 24), (20, 20), (16, 8)])
    width = math.lcm(linear, softmax) * rng.choice([1, 2])
    layers = rng.choice([1, 3, 4, 5])
    return {
        "layers": layers,
        "width": width,
        "linear_head_dim": linear,
        "softmax_head_dim": softmax,
        "cross_heads": rng.choice([1, 2, 4]),
        "softmax_ratio": rng.choice([0.25, 0.5]),
        "ffn_ratio": rng.choice([1, 2, 4]),
        "residual_block": rng.choice([1, 2, 3, 8]),
        "channels": rng.choice([4, 6]),
        "caption_channels": rng.choice([12, 24]),
        "patch_size": rng.choice([[1, 1, 1], [1, 1, 1], [1, 2, 2]]),
    }


def build(config: dict, seed: int, dtype: str) -> SanaVideo2:
    model = randomize(SanaVideo2(config), seed)
    # Scores of about 1, so that the attention over depth weighs all sources and none like another.
    for part in model.attn_res.children():
        part.weight.data.mul_(2.0)
    return stored_as(model, dtype)


def save(model: SanaVideo2, folder: ModelFolder, dtype: str) -> None:
    target = folder.add_component("transformer", "SanaVideo2")
    target.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to(DTYPES[dtype]).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, target / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps({"_class_name": "SanaVideo2", **model.config}, indent=2) + "\n")


def velocity(model: SanaVideo2, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    samples = []
    for row, hidden in enumerate(inputs["hidden_states"]):
        valid = inputs["encoder_attention_mask"][row].bool()
        caption = inputs["encoder_hidden_states"][row][valid]
        timestep = inputs["timestep"][row].reshape(-1)
        samples.append(model(hidden.to(model.dtype), timestep, caption.to(model.dtype)))
    return torch.stack(samples)


def _inputs(config: dict, rng: random.Random, frames: int | None = None) -> Inputs:
    return Inputs({**config, "in_channels": config["channels"]}, rng, frames)


def pass_case(out: Path, name: str, rng: random.Random, dtype: str, per_frame: bool, config: dict | None = None) -> None:
    config = {**random_config(rng), **(config or {})}
    model = build(config, rng.randrange(2**31), dtype)
    folder = ModelFolder(out, name)
    save(model, folder, dtype)
    folder.close()

    data = _inputs(config, rng, frames=rng.choice([2, 3, 5]) if per_frame else None)
    batch = rng.choice([1, 2, 3])
    inputs = data.of_pass(batch, rng.choice([1, 5, 11]), per_frame)
    draws = bfloat16_draws(model, dtype, lambda m: {"sample": velocity(m, inputs)})
    write_case(out, name, "transformer", name, inputs, draws)


# 3 layers of which the last is softmax, in blocks of 2: each part at least once.
COMMITTED = {
    "layers": 3,
    "width": 24,
    "linear_head_dim": 12,
    "softmax_head_dim": 24,
    "cross_heads": 2,
    "softmax_ratio": 0.34,
    "ffn_ratio": 1,
    "residual_block": 2,
    "channels": 4,
    "caption_channels": 12,
    "patch_size": [1, 1, 1],
}


def committed_cases(out: Path, rng: random.Random) -> None:
    pass_case(out, "sana_video2", rng, "bfloat16", per_frame=True, config=COMMITTED)


def bidirectional_case(out: Path, name: str, rng: random.Random, dtype: str, steps: int, guidance: float) -> None:
    """All steps of DPM-Solver++, as NVlabs samples the 50-step model."""
    config = random_config(rng)
    model = build(config, rng.randrange(2**31), dtype)
    scheduler = random_scheduler(rng, "dpm")
    folder = ModelFolder(out, name)
    save(model, folder, dtype)
    scheduler.save_pretrained(folder.add_component("scheduler", type(scheduler).__name__))
    folder.close()

    inputs = bidirectional_inputs(_inputs(config, rng, frames=3))
    draws = bfloat16_draws(model, dtype, lambda m: {"latents": denoise(m, velocity, scheduler, inputs, steps, guidance)})
    flags = ["--steps", str(steps), "--guidance", str(guidance)]
    write_case(out, name, "bidirectional", name, inputs, draws, arguments=flags)


def four_steps(model: SanaVideo2, inputs: dict[str, torch.Tensor], sigmas: list[float], guidance: float) -> torch.Tensor:
    """NVlabs' sampling of the four-step model: x0 of each velocity, and new noise up to the next level."""
    x = inputs["latents"][:1]
    for step, sigma in enumerate(sigmas):
        result = guided_velocity(model, velocity, inputs, x, torch.tensor([1000 * sigma]), guidance)
        x0 = x.double() - sigma * result.double()
        following = sigmas[step + 1] if step + 1 < len(sigmas) else 0.0
        x = x0 if not following else (1 - following) * x0 + following * inputs["latents"][step + 1 : step + 2].double()
        x = x.float()
    return x


def four_step_case(out: Path, name: str, rng: random.Random, dtype: str, guidance: float) -> None:
    config = random_config(rng)
    model = build(config, rng.randrange(2**31), dtype)
    # The published levels, or others.
    sigmas = rng.choice([[0.9998332262, 0.9471688271, 0.8568977118, 0.6663702130], [1.0, 0.31], [0.7]])
    folder = ModelFolder(out, name)
    save(model, folder, dtype)
    folder.settings({"family": "sana_video_2", "sampler": "flow_lcm", "sigmas": sigmas, "guidance": 1.0})
    folder.close()

    data = _inputs(config, rng, frames=3)
    inputs = bidirectional_inputs(data) | {"latents": data.latents(len(sigmas))}
    draws = bfloat16_draws(model, dtype, lambda m: {"latents": four_steps(m, inputs, sigmas, guidance)})
    write_case(out, name, "bidirectional", name, inputs, draws, arguments=["--guidance", str(guidance)])
