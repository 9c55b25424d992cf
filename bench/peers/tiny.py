"""The bundled model end to end in torch: text encoder, block-causal passes and VAE on the folder's own weights.

The video is not encoded to MP4, which is in torch's favour. The call makes SECONDS of video.
"""

import json
from pathlib import Path

import torch

from tools.export import causal

FOLDER = Path("models/longtake-tiny")
SECONDS = 4


def build(dtype: torch.dtype, compile_it: bool, layout: str):
    from diffusers import AutoencoderKLWan, SanaVideoTransformer3DModel
    from transformers import Gemma2Model

    settings = json.loads((FOLDER / "longtake.json").read_text())
    transformer = SanaVideoTransformer3DModel.from_pretrained(FOLDER / "transformer", torch_dtype=dtype).eval()
    encoder = Gemma2Model.from_pretrained(FOLDER / "text_encoder", dtype=dtype, attn_implementation="eager").eval()
    vae = AutoencoderKLWan.from_pretrained(FOLDER / "vae", torch_dtype=dtype).eval()
    block_pass = torch.compile(causal.block_pass) if compile_it else causal.block_pass
    if compile_it:
        vae.decoder.forward = torch.compile(vae.decoder.forward)

    width, height = (int(n) for n in settings["sizes"][0].split("x"))
    stride = vae.config.scale_factor_spatial
    frames = 1 + round(SECONDS * settings["fps"] / vae.config.scale_factor_temporal)
    tokens = settings["caption_tokens"]
    ids = torch.randint(4, encoder.config.vocab_size, (1, tokens))
    mask = torch.ones_like(ids)
    noise = torch.randn(len(settings["timesteps"]), transformer.config.in_channels, frames, height // stride, width // stride)
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)

    def call():
        caption = encoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        lengths = causal.block_lengths(frames, settings["block_latent_frames"])
        latents = causal.few_step(transformer, noise, lengths, [(caption, mask)], settings, block_pass)
        return vae.decode((latents[None] * std + mean).to(dtype), return_dict=False)

    return call
