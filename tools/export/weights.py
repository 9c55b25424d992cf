"""Random weights under which every part of a model shows in its output.

Freshly built diffusers models hide whole branches: zero-initialised tables, caption norms of 0.01, norm weights of one,
biases of zero. A test on those would pass with the branch left out.
"""

import math

import torch


def randomize(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fills all parameters in place, the same for the same seed; returns the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(_scaled(name, noise))
    return model.eval()


def _scaled(name: str, noise: torch.Tensor) -> torch.Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "scale_shift_table":
        return 0.4 * noise
    if leaf == "bias":
        return 0.1 * noise
    if leaf == "gamma":  # the VAE's norms
        return 1.0 + 0.2 * noise
    if "embed_tokens" in name:
        return noise / math.sqrt(noise.shape[1])  # the encoder multiplies by sqrt(width)
    if noise.dim() == 1:  # RMSNorm; Gemma's are used as 1 + w
        gemma = "layernorm" in name or name == "norm.weight"
        return 0.2 * noise if gemma else 1.0 + 0.2 * noise
    fan_in = noise[0].numel()
    gain = 0.6 if "conv_temp" in name else 1.0
    return gain * noise / math.sqrt(fan_in)
