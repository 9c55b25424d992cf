"""Cases of the transformer with low-rank adapters: what peft computes with them, and the files that diffusers and peft write."""

import random
from pathlib import Path

import torch
from diffusers import SanaVideoPipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from tools.export.folder import ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.transformer import Inputs, build, random_config, velocity

# Every layer that can have an adapter; the depthwise convolution cannot.
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv_inverted", "conv_point", "conv_temp", "linear_1", "linear_2"]
TARGETS += ["proj_out", "patch_embedding", "time_embed.linear"]
FORMS = ["diffusers", "diffusers_old", "peft", "kohya"]


def random_lora(rng: random.Random) -> dict:
    """Rules of ranks and scales: plain, rank-stabilized, and patterns that override."""
    rank = rng.choice([1, 3, 4, 8, 16])
    settings = {"r": rank, "lora_alpha": rng.choice([1, 2 * rank, 5]), "use_rslora": rng.choice([True, False])}
    if rng.choice([True, False]):
        settings["rank_pattern"] = {"to_q": rng.choice([2, 5]), r"transformer_blocks\.0\..*to_v": 7}
        settings["alpha_pattern"] = {"attn1.to_q": 6, "to_q": 3, "conv_temp": 1.5}
    settings["target_modules"] = rng.sample(TARGETS, rng.randrange(3, len(TARGETS) + 1))
    return settings


def write_adapter(folder: Path, name: str, form: str, model) -> None:
    """The adapter `name` of the model in one of the forms that its users' programs write."""
    tensors = {k: v.contiguous().clone() for k, v in get_peft_model_state_dict(model, adapter_name=name).items()}
    if form == "diffusers":
        metadata = _collate_lora_metadata({"transformer": _One(model, name)})
        SanaVideoPipeline.save_lora_weights(folder / name, transformer_lora_layers=tensors, **metadata)
    elif form == "peft":
        (folder / name).mkdir(parents=True)
        save_file({"base_model.model." + k: v for k, v in tensors.items()}, folder / name / "adapter_model.safetensors")
        model.peft_config[name].save_pretrained(folder / name)
    else:
        # These have no configuration: the scale is a tensor of each layer.
        folder.mkdir(parents=True, exist_ok=True)
        parts, down, up = {}, "lora_down", "lora_up"
        if form == "diffusers_old":
            down, up = "lora.down", "lora.up"
        for key, value in tensors.items():
            layer, part = key.split(".lora_")
            head = "transformer." + layer if form == "diffusers_old" else "lora_unet_" + layer.replace(".", "_")
            parts[f"{head}.{down if part.startswith('A') else up}.weight"] = value
            if part.startswith("A"):
                parts[head + ".alpha"] = torch.tensor(float(model.get_submodule(layer).scaling[name] * value.shape[0]))
        save_file(parts, folder / f"{name}.safetensors")


class _One:
    """Shows diffusers one adapter's configuration of a model that has several."""

    def __init__(self, model, name: str):
        self.peft_config = {"default": model.peft_config[name]}


def case(out: Path, name: str, rng: random.Random, dtype: str, forms: list[str], config=None, lora=None) -> None:
    """One pass under as many adapters at once as there are forms, each at its own strength."""
    config = {**random_config(rng), **(config or {})}
    model = build(config, rng.randrange(2**31), dtype)
    folder = ModelFolder(out, name)
    folder.add("transformer", model, dtype)
    folder.close()
    strengths = {}
    for index in range(len(forms)):
        adapter = f"style{index}"
        settings = lora or random_lora(rng)
        torch.manual_seed(rng.randrange(2**31))
        model.add_adapter(LoraConfig(init_lora_weights=False, **settings), adapter_name=adapter)
        strengths[adapter] = rng.choice([1.0, 0.5, -0.75, 1.25])
    for key, parameter in model.named_parameters():
        if ".lora_B." not in key:
            continue
        # Unbounded scales would make a network of which rounding alone moves results by more than the bound.
        layer, adapter = key.split(".lora_B.")
        parameter.data *= 0.5 / max(1.0, model.get_submodule(layer).scaling[adapter.removesuffix(".weight")])
    stored_as(model, dtype)
    for index, form in enumerate(forms):
        write_adapter(folder.path / "adapters", f"style{index}", form, model)
    model.set_adapters(list(strengths), list(strengths.values()))

    data = Inputs(config, rng)
    batch = rng.choice([1, 2])
    inputs = data.of_pass(batch, rng.choice([1, 5, 11]))
    draws = bfloat16_draws(model, dtype, lambda m: {"sample": velocity(m, inputs)})
    arguments = [f"--adapter={adapter}={strength}" for adapter, strength in strengths.items()]
    write_case(out, name, "transformer", name, inputs, draws, arguments)
