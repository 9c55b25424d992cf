"""Writes model folders and cases.

An export has two folders: `models/NAME/` in diffusers' layout, and `cases/NAME/` with

    case.json             module, model, extra flags of longtake-module, bound, torch's own bfloat16 errors
    input.safetensors     absent where the module takes flags only
    expected.safetensors  what diffusers or transformers computed in float32
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

# The variant that diffusers' and transformers' users save weights of a type as.
VARIANTS = {"float32": None, "float16": "fp16", "bfloat16": "bf16"}
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

# Outputs that are compared exactly: they have no bfloat16 error.
EXACT = {"input_ids", "encoder_attention_mask"}

# Draws of torch's rounding noise for each case. The logarithm of a draw's root mean square error has a standard
# deviation of 0.14 (174 outputs of the seeds 7, 8 and 9), that of its largest error of 0.24: eight draws settle the
# scale of both within 5 and 9 %.
BFLOAT16_DRAWS = 8

Outputs = dict[str, torch.Tensor]

_COMPONENTS = {
    "transformer": ["diffusers", "SanaVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
    "text_encoder": ["transformers", "Gemma2Model"],
    "tokenizer": ["transformers", "GemmaTokenizer"],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
}


def rms(values: torch.Tensor) -> torch.Tensor:
    return values.double().square().mean().sqrt()


def relative_errors(actual: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The root mean square of the difference and its largest element, each divided by the same of what is expected."""
    difference, expected = actual.double() - expected.double(), expected.double()
    return torch.stack([rms(difference) / rms(expected), difference.abs().max() / expected.abs().max()])


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


def _neighbour(model: torch.nn.Module, dtype: str, draw: int) -> torch.nn.Module:
    """A copy whose parameters differ by about 1 %: several steps of bfloat16, so every rounding falls anew, while the
    function, and how it enlarges errors, stays nearly the same. Draw 0 is the model itself."""
    other = copy.deepcopy(model)
    if draw:
        generator = torch.Generator().manual_seed(draw)
        for parameter in other.parameters():
            parameter.data *= 1 + 0.01 * torch.randn(parameter.shape, generator=generator)
    return stored_as(other, dtype)


def bfloat16_draws(model: torch.nn.Module, dtype: str, run: Callable) -> Iterator[tuple[Outputs, Outputs]]:
    """What `run(model)` gives in float32 and in bfloat16, for the model and for its neighbours."""
    for draw in range(BFLOAT16_DRAWS):
        other = _neighbour(model, dtype, draw)
        yield run(other), run(in_bfloat16(other))


class ModelFolder:
    """One folder `models/NAME`; parts are added one by one, `close` writes model_index.json."""

    def __init__(self, out: Path, name: str):
        self.name = name
        self.path = out / "models" / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._index = {"_class_name": "SanaVideoPipeline", "_diffusers_version": "0.36.0"}

    def add(
        self,
        part: str,
        model: torch.nn.Module,
        dtype: str = "float32",
        shard_bytes: int | None = None,
        variant: str | None = None,
        class_name: str | None = None,
    ) -> Path:
        """Saves a module as `part`; with shard_bytes in several files and an index; the variant is in the files' names;
        class_name where it is not the usual one."""
        target = self.path / part
        options = {"max_shard_size": shard_bytes} if shard_bytes else {}
        options |= {"variant": variant} if variant else {}
        copy.deepcopy(model).to(DTYPES[dtype]).save_pretrained(target, **options)
        self._index[part] = [_COMPONENTS[part][0], class_name or _COMPONENTS[part][1]]
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
    inputs: Outputs,
    draws: Iterable[tuple[Outputs, Outputs]],
    arguments: list[str] = (),
    valid_rows: dict[str, str] | None = None,
    float32_bound: float | None = None,
) -> None:
    """Writes one case.

    valid_rows: output name -> name of the input or output mask [B,L] outside of which rows may hold anything.
    draws: pairs of the outputs in float32 and in bfloat16. The first pair's float32 is what is expected; of bfloat16
    only the root mean square of the draws' errors is kept.
    """
    draws = list(draws)
    expected = draws[0][0]
    folder = out / "cases" / name
    folder.mkdir(parents=True, exist_ok=True)
    valid_rows = valid_rows or {}

    def valid(key: str, tensor: torch.Tensor) -> torch.Tensor:
        if key not in valid_rows:
            return tensor
        mask = {**inputs, **expected}[valid_rows[key]]
        return tensor[mask.bool()]

    def error(key: str) -> dict[str, float]:
        """Of an output: the root mean square over all draws."""
        errors = [relative_errors(valid(key, low[key].float()), valid(key, exact[key])) for exact, low in draws]
        return {"rms": float(rms(torch.stack(errors)[:, 0])), "max": float(rms(torch.stack(errors)[:, 1]))}

    for key, value in expected.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name}: {key} is not finite; choose another seed")
    case = {
        "module": module,
        "model": model,
        "arguments": list(arguments),
        "float32_bound": float32_bound or FLOAT32_BOUNDS[module],
        "torch_bfloat16_error": {key: error(key) for key in expected if key not in EXACT},
        "valid_rows": valid_rows,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
    if inputs:
        save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "input.safetensors")
    save_file({k: v.float().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
