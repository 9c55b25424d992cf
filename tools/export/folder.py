"""Writes model folders and cases.

An export has two folders: `models/NAME/` in diffusers' layout, and `cases/NAME/` with

    case.json             module, model, extra flags of longtake-module, bound, torch's own bfloat16 error
    input.safetensors     absent where the module takes flags only
    expected.safetensors  what diffusers or transformers computed in float32
"""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Largest allowed float32 error of each module, as max|difference| / max|expected|.
FLOAT32_BOUNDS = {
    "caption": 2e-5,
    "text_encoder": 2e-5,
    "tokenizer": 0.0,
    "transformer": 2e-5,
    "transformer_blocks": 1e-4,
    "few_step": 2e-4,
    "bidirectional": 2e-3,
    "vae_decoder": 5e-5,
    "vae_encoder": 1e-4,
}

_COMPONENTS = {
    "transformer": ["diffusers", "SanaVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
    "text_encoder": ["transformers", "Gemma2Model"],
    "tokenizer": ["transformers", "GemmaTokenizer"],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
}


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """max|actual - expected| / max|expected|, the measure of every bound."""
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


def stored_as(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """The model in float32 with exactly the values that a folder of that type holds.

    Only parameters are rounded. `model.to(dtype)` would round the rotary tables as well, which no folder holds.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(DTYPES[dtype]).to(torch.float32)
    return model.eval()


def in_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """The model with bfloat16 parameters, in place; rotary tables stay float32, as after loading with a torch_dtype."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return model


class ModelFolder:
    """One folder `models/NAME`; parts are added one by one, `close` writes model_index.json."""

    def __init__(self, out: Path, name: str):
        self.name = name
        self.path = out / "models" / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._index = {"_class_name": "SanaVideoPipeline", "_diffusers_version": "0.36.0"}

    def add(self, part: str, model: torch.nn.Module, dtype: str = "float32", shard_bytes: int | None = None) -> Path:
        """Saves a module as `part`; with shard_bytes in several files and an index."""
        target = self.path / part
        options = {"max_shard_size": shard_bytes} if shard_bytes else {}
        copy.deepcopy(model).to(DTYPES[dtype]).save_pretrained(target, **options)
        self._index[part] = _COMPONENTS[part]
        return target

    def add_component(self, part: str, class_name: str | None = None) -> Path:
        """A part that the caller writes by itself (tokenizer, scheduler); class_name where it is not the usual one."""
        self._index[part] = [_COMPONENTS[part][0], class_name or _COMPONENTS[part][1]]
        target = self.path / part
        target.mkdir(exist_ok=True)
        return target

    def settings(self, values: dict) -> None:
        """Writes longtake.json."""
        (self.path / "longtake.json").write_text(json.dumps(values, indent=2) + "\n")

    def close(self) -> None:
        (self.path / "model_index.json").write_text(json.dumps(self._index, indent=2) + "\n")


def write_case(
    out: Path,
    name: str,
    module: str,
    model: str,
    inputs: dict[str, torch.Tensor],
    expected: dict[str, torch.Tensor],
    bfloat16: dict[str, torch.Tensor],
    arguments: list[str] = (),
    valid_rows: dict[str, str] | None = None,
    float32_bound: float | None = None,
) -> None:
    """Writes one case.

    valid_rows: output name -> name of the input or output mask [B,L] outside of which rows may hold anything.
    bfloat16: the same outputs as torch computes them in bfloat16; only their errors are kept.
    """
    folder = out / "cases" / name
    folder.mkdir(parents=True, exist_ok=True)
    valid_rows = valid_rows or {}

    def valid(key: str, tensor: torch.Tensor) -> torch.Tensor:
        if key not in valid_rows:
            return tensor
        mask = {**inputs, **expected}[valid_rows[key]]
        return tensor[mask.bool()]

    for key, value in expected.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name}: {key} is not finite; choose another seed")
    case = {
        "module": module,
        "model": model,
        "arguments": list(arguments),
        "float32_bound": float32_bound or FLOAT32_BOUNDS[module],
        "torch_bfloat16_error": {
            key: relative_error(valid(key, value.float()), valid(key, expected[key])) for key, value in bfloat16.items()
        },
        "valid_rows": valid_rows,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
    if inputs:
        save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "input.safetensors")
    save_file({k: v.float().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
