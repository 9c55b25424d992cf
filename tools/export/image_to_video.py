"""Cases of image to video: diffusers' `SanaImageToVideoPipeline` with random weights, and its block-causal forms.

The pipeline holds the image's latent as frame 0: every pass has timestep 0 for it, and the scheduler steps the frames
behind it. Block-causal generation from an image has no counterpart upstream. It is computed by `causal`, held within the
first block or as a finished block of one frame before it.
"""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLWan, SanaImageToVideoPipeline

from tools.export import causal, ltx2_vae, transformer, vae
from tools.export.folder import ModelFolder, bfloat16_draws, write_case


class _Networks(torch.nn.Module):
    """Transformer and VAE, so that both are rounded together in bfloat16."""

    def __init__(self, dit, encoder):
        super().__init__()
        self.transformer = dit
        self.vae = encoder

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        module = ltx2_vae if isinstance(self.vae, AutoencoderKLLTX2Video) else vae
        return module.encode(self.vae, image)


def _networks(rng: random.Random, dtype: str, kind: str, config: dict | None, vae_config: dict | None):
    """Networks whose channels fit, with latents of one row of patches or some."""
    if kind == "wan":
        vae_config = {**vae.random_config(rng), **(vae_config or {})}
        channels = vae_config["z_dim"]
        encoder = vae.build(vae_config, rng.randrange(2**31), dtype)
    else:
        vae_config = {**ltx2_vae.random_config(rng, kind), **(vae_config or {})}
        channels = vae_config["latent_channels"]
        encoder = ltx2_vae.build(vae_config, rng.randrange(2**31), dtype)
    config = {**transformer.random_config(rng), **(config or {})}
    # By this the folder's family is known.
    config["sample_size"] = 30 if kind == "wan" else 22
    config |= {"in_channels": channels, "out_channels": channels, "patch_size": (1, *config["patch_size"][1:])}
    networks = _Networks(transformer.build(config, rng.randrange(2**31), dtype), encoder)
    return networks.eval(), config


def _folder(out: Path, name: str, networks: _Networks, dtype: str, scheduler=None, settings: dict | None = None) -> None:
    folder = ModelFolder(out, name)
    folder.add("transformer", networks.transformer, dtype)
    folder.add("vae", networks.vae, dtype, class_name=type(networks.vae).__name__)
    if scheduler is not None:
        scheduler.save_pretrained(folder.add_component("scheduler", type(scheduler).__name__))
    if settings is not None:
        folder.settings(settings)
    folder.close()


def _stride(networks: _Networks) -> int:
    return 8 if isinstance(networks.vae, AutoencoderKLWan) else networks.vae.config.spatial_compression_ratio


def _image(networks: _Networks, data: transformer.Inputs) -> torch.Tensor:
    """Pixels for latents of the size of `data`'s."""
    stride, (_, height, width) = _stride(networks), data.size
    return torch.rand(1, 3, 1, height * stride, width * stride, generator=data.generator) * 2 - 1


def _pipeline(networks: _Networks, scheduler, inputs: dict, steps: int, guidance: float) -> torch.Tensor:
    """The latents that the pipeline makes of these captions, image and noise."""
    dtype = networks.transformer.dtype
    pipe = SanaImageToVideoPipeline(
        tokenizer=None, text_encoder=None, vae=networks.vae, transformer=networks.transformer, scheduler=scheduler
    )
    pipe.set_progress_bar_config(disable=True)
    captions = [inputs[prefix + "encoder_hidden_states"].to(dtype) for prefix in ("", "negative_")]
    masks = [inputs[prefix + "encoder_attention_mask"] for prefix in ("", "negative_")]
    # diffusers' own fails without a text encoder.
    pipe.encode_prompt = lambda *args, **kwargs: (captions[0], masks[0], captions[1], masks[1])
    height, width = inputs["first_image"].shape[-2:]
    frames = inputs["latents"].shape[2]
    made = pipe(
        image=(inputs["first_image"][:, :, 0] + 1) / 2,
        prompt="",
        guidance_scale=guidance,
        num_inference_steps=steps,
        height=height,
        width=width,
        frames=pipe.vae_scale_factor_temporal * (frames - 1) + 1,
        latents=inputs["latents"].clone(),
        output_type="latent",
        use_resolution_binning=False,
    )
    return made.frames.float()


def _captions(data: transformer.Inputs, rows: int) -> dict[str, torch.Tensor]:
    caption, mask = data.caption(1, rows)
    negative, negative_mask = data.caption(1, rows)
    return {
        "encoder_hidden_states": caption,
        "encoder_attention_mask": mask,
        "negative_encoder_hidden_states": negative,
        "negative_encoder_attention_mask": negative_mask,
    }


def pipeline_case(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    kind: str,
    scheduler_kind: str,
    steps: int,
    guidance: float,
    config: dict | None = None,
    vae_config: dict | None = None,
) -> None:
    """`kind`: the VAE, "wan" or LTX-2's "2.0" or "2.3"."""
    networks, config = _networks(rng, dtype, kind, config, vae_config)
    scheduler = transformer.random_scheduler(rng, scheduler_kind)
    _folder(out, name, networks, dtype, scheduler)
    data = transformer.Inputs(config, rng, frames=3)
    # The pipeline takes multiples of 32 pixels.
    unit = max(32 // _stride(networks), config["patch_size"][1])
    data.size = (3, unit, unit * rng.choice([1, 2]))
    inputs = {"latents": data.latents(1), "first_image": _image(networks, data), **_captions(data, 7)}
    draws = bfloat16_draws(networks, dtype, lambda n: {"latents": _pipeline(n, scheduler, inputs, steps, guidance)})
    flags = ["--steps", str(steps), "--guidance", str(guidance)]
    write_case(out, name, "bidirectional", name, inputs, draws, arguments=flags)


def _few_step(networks: _Networks, inputs: dict, lengths: list[int], settings: dict) -> torch.Tensor:
    image = networks.encode(inputs["first_image"])[0]
    captions = [(inputs[p + "encoder_hidden_states"], inputs[p + "encoder_attention_mask"]) for p in ("", "negative_")]
    return causal.few_step(networks.transformer, inputs["noise"], lengths, captions, settings, image=image)


def causal_case(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    use: str,
    window: int,
    guidance: float = 1.0,
    config=None,
    vae_config=None,
) -> None:
    """`use`: "held" or "prefix", as in longtake.json."""
    networks, config = _networks(rng, dtype, "wan", config, vae_config)
    settings = transformer.causal_settings(rng, window, guidance) | {"first_image": use}
    _folder(out, name, networks, dtype, settings=settings)
    block = settings["block_latent_frames"]
    data = transformer.Inputs(config, rng, frames=3 * block + 1)
    # Where the image is a block of its own, the rule counts from the frame behind it.
    lengths = causal.block_lengths(data.frames - (use == "prefix"), block)
    lengths[0] += use == "prefix"
    inputs = {
        "noise": data.latents(len(settings["timesteps"])),
        "block_lengths": torch.tensor(lengths),
        "first_image": _image(networks, data),
        **_captions(data, 9),
    }
    draws = bfloat16_draws(networks, dtype, lambda n: {"latents": _few_step(n, inputs, lengths, settings)})
    write_case(out, name, "few_step", name, inputs, draws)


def committed_cases(out: Path, rng: random.Random) -> None:
    """One tiny folder."""
    network = {"num_layers": 1, "caption_channels": 16, "mlp_ratio": 1.0, "patch_size": (1, 2, 2)}
    network |= {"num_attention_heads": 1, "attention_head_dim": 16, "num_cross_attention_heads": 1}
    network |= {"cross_attention_head_dim": 16, "cross_attention_dim": 16, "qk_norm": "rms_norm_across_heads"}
    tiny = {"base_dim": 4, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    tiny |= {"latents_mean": [0.3, -0.5, 0.9, 0.0], "latents_std": [1.5, 0.6, 2.25, 1.0]}
    pipeline_case(out, "image_to_video", rng, "bfloat16", "wan", "dpm", 4, 4.5, network, tiny)
