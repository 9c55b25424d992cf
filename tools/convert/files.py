"""Checkpoint files of either kind: torch's archives (.pth, .pt, .bin) and safetensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.convert import pth, safetensors_file
from tools.convert.pth import StoredTensor

_NESTS = ("generator_ema", "generator", "state_dict_ema", "state_dict", "model")
_PREFIXES = ("model.", "module.")  # in this order, where both are there


@dataclass
class Checkpoint:
    """A file's tensors under their original names, and what a safetensors file says beside them."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str] = field(default_factory=dict)


def find_weights(saved: object) -> dict[str, StoredTensor]:
    """The tensors by their original names, without what training code and wrappers put around them."""
    while isinstance(saved, Mapping):
        inner = [saved[key] for key in _NESTS if isinstance(saved.get(key), Mapping)]
        if not inner:
            break
        saved = inner[0]
    if not isinstance(saved, Mapping):
        raise ValueError("the checkpoint holds no dictionary of tensors")
    tensors = {}
    for key, value in saved.items():
        if isinstance(value, StoredTensor):
            name = str(key)
            for prefix in _PREFIXES:
                name = name.removeprefix(prefix)
            tensors[name] = value
    if not tensors:
        raise ValueError(f"the checkpoint holds no tensors; its keys begin with {sorted(map(str, saved))[:5]}")
    return tensors


def load(path: Path) -> Checkpoint:
    """ValueError where the file is malformed or holds no tensors, OSError where it cannot be opened."""
    if path.suffix == ".safetensors":
        tensors, metadata = safetensors_file.load(path)
        return Checkpoint(find_weights(tensors), metadata)
    return Checkpoint(find_weights(pth.load(path)))
