"""Tensors of a checkpoint under diffusers' names, and writing them as a part of a folder."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tools.convert.pth import StoredTensor
from tools.make_model import SHARD_BYTES, STORAGE
from tools.safetensors_stream import TensorSpec, encode, write_part

# diffusers' name -> (original tensor, part, parts), where parts are equal pieces along the first axis.
Entry = tuple[StoredTensor, int, int]
Renamed = dict[str, Entry]


def shape_of(entry: Entry) -> tuple[int, ...]:
    tensor, _, parts = entry
    return (tensor.shape[0] // parts, *tensor.shape[1:]) if parts > 1 else tensor.shape


def _stored(entry: Entry, dtype: str) -> np.ndarray:
    """The bytes of one part of a tensor in the storage type asked for."""
    tensor, part, parts = entry
    bits = tensor.bits()
    if parts > 1:
        rows = tensor.shape[0] // parts
        bits = bits[part * rows : (part + 1) * rows]
    if tensor.dtype == dtype:
        return bits
    if tensor.dtype == "BF16":
        return encode((bits.astype(np.uint32) << 16).view(np.float32), dtype)
    return encode(bits.astype(np.float32), dtype)


def write_tensors(
    folder: Path,
    renamed: Renamed,
    expected: Iterable[tuple[str, tuple[int, ...]]],
    config: dict,
    dtype: str,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a part's weights and config.json. ValueError names a tensor that is missing, superfluous or of a wrong shape.

    `expected`: the names and shapes that the part has with that config.
    """
    shapes = dict(expected)
    for name in renamed:
        if name not in shapes:
            raise ValueError(f"tensor {name} is superfluous")
    specs = []
    for name, shape in shapes.items():
        if name not in renamed:
            raise ValueError(f"tensor {name} is missing")
        actual = shape_of(renamed[name])
        # Linear layers are 1x1 convolutions in some versions and the reverse: the same numbers.
        if [n for n in actual if n != 1] != [n for n in shape if n != 1]:
            raise ValueError(f"tensor {name} has shape {list(actual)}, expected {list(shape)}")
        stored = renamed[name][0].dtype
        if stored not in (*STORAGE.values(), "F64"):
            raise ValueError(f"tensor {name} is of type {stored}, which is not converted")
        stored = stored if dtype == "keep" else STORAGE[dtype]
        if stored not in STORAGE.values():
            raise ValueError(f"tensor {name} is of type {stored}; ask for a --dtype")
        specs.append(TensorSpec(name, shape, stored))
    write_part(folder, "diffusion_pytorch_model", specs, lambda spec: _stored(renamed[spec.name], spec.dtype), shard_bytes)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
