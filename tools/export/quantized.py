"""Cases of transformers whose files are quantized in ModelOpt's two layouts, by diffusers' own functions."""

import json
import random
from pathlib import Path

import torch
from diffusers.quantizers.bfl import utils as modelopt
from safetensors.torch import save_file

from tools.export.folder import ModelFolder, bfloat16_draws, write_case
from tools.export.transformer import Inputs, build, random_config, velocity

FILE = "diffusion_pytorch_model.safetensors"

# Layers of a block, by what their names contain.
LAYERS = ["attn1.to_", "attn2.to_", "ff.conv_inverted", "ff.conv_point"]


def quantize(model: torch.nn.Module, formats: dict[str, str]) -> dict[str, torch.Tensor]:
    """The tensors of a file in which layers have a format, by what their names contain; the model gets the numbers that
    they stand for."""
    tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    for name, module in model.named_modules():
        layout = next((layout for part, layout in formats.items() if part in name), None)
        if layout is None or getattr(module, "weight", None) is None or module.weight.dim() < 2:
            continue
        weight = module.weight.data
        matrix = weight.flatten(1)
        if layout == "fp8":
            codes, scale = modelopt.quantize_fp8r(matrix)
            numbers = modelopt.dequantize_fp8r(codes, scale)
        else:
            codes, scale, whole = modelopt.quantize_nvfp4(matrix)
            numbers = modelopt.dequantize_nvfp4(codes, scale, whole)
            tensors |= {f"{name}.weight_scale_2": whole, f"{name}.input_scale": torch.tensor(0.01)}
        tensors |= {f"{name}.weight": codes.reshape(len(codes), -1, *weight.shape[2:]), f"{name}.weight_scale": scale}
        module.weight.data = numbers.reshape(weight.shape)
    return tensors


def case(out: Path, name: str, rng: random.Random, formats: dict[str, str], config: dict | None = None) -> None:
    """One pass. Every width is a multiple of 16, as NVFP4 needs."""
    width = {"num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32, "mlp_ratio": 2.0}
    width |= {"num_cross_attention_heads": 2, "cross_attention_head_dim": 16}
    config = {**random_config(rng), **width, **(config or {})}
    model = build(config, rng.randrange(2**31), "float32")
    folder = ModelFolder(out, name)
    part = folder.add("transformer", model)
    folder.close()
    save_file(quantize(model, formats), part / FILE, {"format": "pt"})
    path = part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "bfl"}}, indent=2))

    data = Inputs(config, rng, frames=3)
    inputs = data.of_pass(rng.choice([1, 2]), 5)
    draws = bfloat16_draws(model, "float32", lambda m: {"sample": velocity(m, inputs)})
    write_case(out, name, "transformer", name, inputs, draws)


def random_formats(rng: random.Random) -> dict[str, str]:
    """Each kind of layers in one of the layouts or as it was."""
    return {part: layout for part in LAYERS if (layout := rng.choice(["fp8", "nvfp4", None]))}


def committed_cases(out: Path, rng: random.Random) -> None:
    """A file of both layouts."""
    formats = {"attn1.to_": "fp8", "attn2.to_": "nvfp4", "ff.conv_inverted": "nvfp4", "ff.conv_point": "fp8"}
    config = {"num_layers": 1, "caption_channels": 16, "in_channels": 4, "out_channels": 4, "qk_norm": "rms_norm_across_heads"}
    case(out, "quantized", rng, formats, config)
