"""Cases of the transformer: one pass, blocks with state, few-step and bidirectional sampling."""

import random
from pathlib import Path

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaVideoTransformer3DModel,
    UniPCMultistepScheduler,
)

from tools.export import causal
from tools.export.folder import ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.weights import randomize


def random_config(rng: random.Random, patch: tuple[int, int, int] | None = None) -> dict:
    """Configurations over the ranges that the family allows; the model width is heads x head width."""
    heads = rng.choice([1, 2, 3])
    head_dim = rng.choice([14, 16, 20, 28, 32, 36])
    channels = rng.choice([4, 6, 16])
    return {
        "in_channels": channels,
        "out_channels": channels,
        "num_attention_heads": heads,
        "attention_head_dim": head_dim,
        "num_layers": rng.choice([1, 2, 3]),
        "num_cross_attention_heads": rng.choice([1, 2, 4]),
        "cross_attention_head_dim": rng.choice([8, 12, 20, 24]),
        "cross_attention_dim": heads * head_dim,
        "caption_channels": rng.choice([12, 24, 40]),
        "mlp_ratio": rng.choice([1.5, 2.0, 2.5, 3.0]),
        "attention_bias": rng.choice([False, False, True]),
        "patch_size": patch or rng.choice([(1, 1, 1), (1, 2, 2)]),
        "norm_eps": rng.choice([1e-6, 1e-5]),
        "qk_norm": rng.choice(["rms_norm_across_heads"] * 4 + [None]),
        "rope_max_seq_len": rng.choice([64, 1024]),
    }


def build(config: dict, seed: int, dtype: str) -> SanaVideoTransformer3DModel:
    return stored_as(randomize(SanaVideoTransformer3DModel(**config), seed), dtype)


class Inputs:
    """Random inputs that fit a configuration."""

    def __init__(self, config: dict, rng: random.Random, frames: int | None = None):
        self.generator = torch.Generator().manual_seed(rng.randrange(2**31))
        self.rng = rng
        self.config = config
        patch_t, patch_h, patch_w = config["patch_size"]
        self.frames = frames or rng.choice([1, 2, 3, 5])
        self.size = (self.frames * patch_t, rng.choice([2, 3, 4]) * patch_h, rng.choice([2, 3, 5]) * patch_w)

    def latents(self, *lead: int) -> torch.Tensor:
        return torch.randn(*lead, self.config["in_channels"], *self.size, generator=self.generator)

    def caption(self, batch: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [B,L,W] and a mask [B,L] with at least one token set in each row."""
        caption = torch.randn(batch, tokens, self.config["caption_channels"], generator=self.generator)
        mask = torch.ones(batch, tokens, dtype=torch.int64)
        for row in range(batch):
            mask[row, self.rng.randrange(1, tokens + 1) :] = 0
        return caption, mask

    def of_pass(self, batch: int, tokens: int, per_frame: bool = False) -> dict[str, torch.Tensor]:
        """What a pass takes; per_frame: a timestep for each frame."""
        caption, mask = self.caption(batch, tokens)
        return {
            "hidden_states": self.latents(batch),
            "timestep": torch.rand(*(batch, self.frames)[: 1 + per_frame], generator=self.generator) * 1000,
            "encoder_hidden_states": caption,
            "encoder_attention_mask": mask,
        }


def velocity(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """diffusers' pass. A timestep [B,T] is given to each frame's tokens, which is how diffusers takes it."""
    hidden, timestep = inputs["hidden_states"], inputs["timestep"]
    if timestep.dim() == 2:
        _, patch_h, patch_w = model.config.patch_size
        tokens = (hidden.shape[3] // patch_h) * (hidden.shape[4] // patch_w)
        timestep = timestep.repeat_interleave(tokens, dim=1)
    return model(
        hidden.to(model.dtype),
        encoder_hidden_states=inputs["encoder_hidden_states"].to(model.dtype),
        timestep=timestep,
        encoder_attention_mask=inputs["encoder_attention_mask"],
        return_dict=False,
    )[0]


def pass_case(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    per_frame: bool,
    patch=None,
    shard_bytes=None,
    config=None,
    variant=None,
) -> None:
    config = {**random_config(rng, patch), **(config or {})}
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder = ModelFolder(out, name)
    folder.add("transformer", model, dtype, shard_bytes, variant)
    folder.close()

    data = Inputs(config, rng, frames=rng.choice([2, 3, 5]) if per_frame else None)
    batch = rng.choice([1, 2, 3])
    inputs = data.of_pass(batch, rng.choice([1, 5, 11]), per_frame)
    draws = bfloat16_draws(model, dtype, lambda m: {"sample": velocity(m, inputs)})
    write_case(out, name, "transformer", name, inputs, draws)


def causal_settings(rng: random.Random, window: int, guidance: float = 1.0) -> dict:
    timesteps = rng.choice([[1000, 960, 889, 727], [1000, 900, 500], [1000, 931, 814, 650, 260]])
    settings = {
        "sampler": "few_step",
        "timesteps": timesteps,
        "shift": rng.choice([1.0, 3.0, 7.0]),
        "block_latent_frames": rng.choice([2, 3]),
        "fps": 16,
        "caption_tokens": 16,
    }
    if window:
        settings["state_window_blocks"] = window
    if guidance != 1.0:
        settings["guidance"] = guidance
    return settings


def _blocks(model, inputs: dict[str, torch.Tensor], window: int) -> dict[str, torch.Tensor]:
    """Velocity of each noisy block after the clean ones before it, and the state behind the last."""
    state = causal.State(model.config.num_layers, window)
    caption, mask = inputs["encoder_hidden_states"].to(model.dtype), inputs["encoder_attention_mask"]
    samples, first = [], 0
    for length, timestep in zip(inputs["block_lengths"].tolist(), inputs["timestep"], strict=True):
        noisy = inputs["noisy"][:, :, first : first + length].to(model.dtype)
        clean = inputs["clean"][:, :, first : first + length].to(model.dtype)
        samples.append(causal.block_pass(model, noisy, timestep[None], caption, mask, state)[0])
        _, memory = causal.block_pass(model, clean, torch.zeros(1), caption, mask, state)
        state.commit(memory, length)
        first += length
    result = {"sample": torch.cat(samples, dim=2)}
    for index, layer in enumerate(state.layers):
        s, z = layer.total()
        result[f"state.S.{index}"], result[f"state.z.{index}"] = s, z
    return result


def causal_cases(out: Path, name: str, rng: random.Random, dtype: str, window: int, guidance: float = 1.0, config=None) -> None:
    """One causal folder with a transformer_blocks and a few_step case."""
    config = {**random_config(rng), **(config or {})}
    settings = causal_settings(rng, window, guidance)
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder = ModelFolder(out, name)
    folder.add("transformer", model, dtype)
    folder.settings(settings)
    folder.close()

    block = settings["block_latent_frames"]
    data = Inputs(config, rng, frames=4 * block + 1)
    lengths = causal.block_lengths(data.frames, block)
    caption, mask = data.caption(1, 9)
    blocks = {
        "noisy": data.latents(1),
        "clean": data.latents(1),
        "block_lengths": torch.tensor(lengths),
        "timestep": torch.rand(len(lengths), generator=data.generator) * 1000,
        "encoder_hidden_states": caption,
        "encoder_attention_mask": mask,
    }
    sampler = {
        "noise": data.latents(len(settings["timesteps"])),
        "block_lengths": torch.tensor(lengths),
        "encoder_hidden_states": caption,
        "encoder_attention_mask": mask,
    }
    captions = [(caption, mask)]
    if guidance != 1.0:
        negative, negative_mask = data.caption(1, 9)
        sampler["negative_encoder_hidden_states"] = negative
        sampler["negative_encoder_attention_mask"] = negative_mask
        captions.append((negative, negative_mask))

    draws = bfloat16_draws(model, dtype, lambda m: _blocks(m, blocks, window))
    write_case(out, f"{name}_blocks", "transformer_blocks", name, blocks, draws)

    def few_step(m):
        return {"latents": causal.few_step(m, sampler["noise"], lengths, captions, settings)}

    write_case(out, f"{name}_few_step", "few_step", name, sampler, bfloat16_draws(model, dtype, few_step))


def guided_velocity(model, velocity, inputs, latents: torch.Tensor, timestep: torch.Tensor, guidance: float) -> torch.Tensor:
    """Of one clip at a timestep [1], float32."""

    def run(prefix):
        parts = {"hidden_states": latents, "timestep": timestep}
        parts |= {name: inputs[prefix + name] for name in ("encoder_hidden_states", "encoder_attention_mask")}
        return velocity(model, parts).float()

    result = run("")
    if guidance > 1.0:
        other = run("negative_")
        result = other + guidance * (result - other)
    return result


def denoise(model, velocity, scheduler, inputs, steps: int, guidance: float) -> torch.Tensor:
    """diffusers' pipeline loop: the network gets the truncated timestep, the solver the exact level."""
    scheduler.set_timesteps(steps)
    latents = inputs["latents"]
    for timestep in scheduler.timesteps:
        result = guided_velocity(model, velocity, inputs, latents, timestep.expand(1), guidance)
        latents = scheduler.step(result, timestep, latents, return_dict=False)[0]
    return latents


def random_scheduler(rng: random.Random, kind: str):
    """A flow scheduler of the kinds `dpm`, `euler` and `unipc`; of the options that a folder may vary, any."""
    shift = rng.choice([1.0, 3.0, 8.0])
    if kind == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}
    flow |= {"lower_order_final": True, "final_sigmas_type": "zero"}
    if kind == "unipc":
        # The class's other type, bh1, ends in NaN where the final sigma is 0.
        options = {"solver_type": "bh2", "disable_corrector": rng.choice([[], [0], [0, 1]])}
        return UniPCMultistepScheduler(**flow, solver_order=rng.choice([1, 2, 3]), **options)
    return DPMSolverMultistepScheduler(**flow, solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint")


def bidirectional_inputs(data: Inputs) -> dict[str, torch.Tensor]:
    caption, mask = data.caption(1, 7)
    negative, negative_mask = data.caption(1, 7)
    return {
        "latents": data.latents(1),
        "encoder_hidden_states": caption,
        "encoder_attention_mask": mask,
        "negative_encoder_hidden_states": negative,
        "negative_encoder_attention_mask": negative_mask,
    }


def bidirectional_case(
    out: Path, name: str, rng: random.Random, dtype: str, steps: int, guidance: float, config=None, scheduler=None
) -> None:
    """`scheduler`: a DPM-Solver++ where none is given."""
    config = {**random_config(rng), **(config or {})}
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    scheduler = scheduler or random_scheduler(rng, "dpm")
    folder = ModelFolder(out, name)
    folder.add("transformer", model, dtype)
    scheduler.save_pretrained(folder.add_component("scheduler", type(scheduler).__name__))
    folder.close()

    inputs = bidirectional_inputs(Inputs(config, rng, frames=3))
    draws = bfloat16_draws(model, dtype, lambda m: {"latents": denoise(m, velocity, scheduler, inputs, steps, guidance)})
    flags = ["--steps", str(steps), "--guidance", str(guidance)]
    write_case(out, name, "bidirectional", name, inputs, draws, arguments=flags)
