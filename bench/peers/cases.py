"""What is timed: each function builds a module with random weights and returns a call that does the work once.

Shapes are those of scripts/bench.sh's model folders. Weights and inputs are random; neither changes the time.
"""

from collections.abc import Callable

import torch

from bench.peers import tiny

Call = Callable[[], object]


def _compiled(function: Callable, compile_it: bool) -> Callable:
    return torch.compile(function) if compile_it else function


def transformer(dtype: torch.dtype, compile_it: bool, layout: str, layers: int = 4) -> Call:
    """One pass at the 2B width over one latent frame of 480p, 1560 tokens, with a caption of 300."""
    from diffusers import SanaVideoTransformer3DModel

    model = SanaVideoTransformer3DModel(num_layers=layers, mlp_ratio=3.0).to(dtype).eval()
    if layout == "channels_last":
        for block in model.transformer_blocks:
            block.ff.to(memory_format=torch.channels_last)
    forward = _compiled(model.forward, compile_it)
    latents = torch.randn(1, 16, 1, 60, 104, dtype=dtype)
    caption = torch.randn(1, 300, 2304, dtype=dtype)
    mask = torch.ones(1, 300, dtype=torch.int64)
    timestep = torch.tensor([500.0])
    return lambda: forward(latents, caption, timestep, encoder_attention_mask=mask, return_dict=False)


def vae(dtype: torch.dtype, compile_it: bool, layout: str) -> Call:
    """Wan 2.1's decoder, base 96: two latent frames to five frames of 240x416."""
    from diffusers import AutoencoderKLWan

    model = AutoencoderKLWan().to(dtype).eval()
    latents = torch.randn(1, 16, 2, 30, 52, dtype=dtype)
    if layout == "channels_last":
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        for parameter in model.parameters():
            if parameter.dim() in formats:
                parameter.data = parameter.data.to(memory_format=formats[parameter.dim()])
        latents = latents.to(memory_format=torch.channels_last_3d)
    model.decoder.forward = _compiled(model.decoder.forward, compile_it)
    return lambda: model.decode(latents, return_dict=False)


def ltx2(dtype: torch.dtype, compile_it: bool, layout: str) -> Call:
    """LTX-2's decoder at a quarter of its widths: two latent frames to nine frames of 704x1280."""
    from diffusers import AutoencoderKLLTX2Video

    model = AutoencoderKLLTX2Video(
        block_out_channels=(64, 128, 256, 512), decoder_block_out_channels=(64, 128, 256), decoder_causal=False
    )
    model = model.to(dtype).eval()
    latents = torch.randn(1, 128, 2, 22, 40, dtype=dtype)
    if layout == "channels_last":
        for parameter in model.parameters():
            if parameter.dim() == 5:
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        latents = latents.to(memory_format=torch.channels_last_3d)
    forward = _compiled(model.decoder.forward, compile_it)
    return lambda: forward(latents, None, causal=False)


def text(dtype: torch.dtype, compile_it: bool, layout: str) -> Call:
    """Four layers at Gemma-2-2B's width over 512 tokens."""
    from transformers import Gemma2Config, Gemma2Model

    # Soft caps exist in the eager attention only.
    config = Gemma2Config(num_hidden_layers=4, vocab_size=32768, attn_implementation="eager")
    model = Gemma2Model(config).to(dtype).eval()
    forward = _compiled(model.forward, compile_it)
    ids = torch.randint(4, 32768, (1, 512))
    mask = torch.ones_like(ids)
    return lambda: forward(input_ids=ids, attention_mask=mask, use_cache=False)


CASES: dict[str, Callable[[torch.dtype, bool, str], Call]] = {
    "transformer": transformer,
    "vae": vae,
    "ltx2": ltx2,
    "text": text,
    "tiny": tiny.build,
}
