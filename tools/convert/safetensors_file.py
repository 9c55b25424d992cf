"""Reads a safetensors file of anybody's: checked, mapped, without a library."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tools.convert.pth import StoredTensor

_MAX_HEADER_BYTES = 100_000_000
# Type -> numpy type of its bits. Types of one byte that numpy lacks are carried along; nothing converts them.
_BITS = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is there twice")
    return members


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _tensor(name: str, entry: Any, data: np.ndarray) -> StoredTensor:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise ValueError(f"tensor {name} has no dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"tensor {name} has the type {dtype!r}, which is not known")
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ValueError(f"tensor {name} has a shape that is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"tensor {name} has data_offsets that are not two sizes")
    begin, end = offsets
    if begin > end or end > data.size:
        raise ValueError(f"tensor {name} has offsets {begin} to {end} outside the file's {data.size} bytes of data")
    if end - begin != math.prod(shape) * _BITS[dtype].itemsize:
        raise ValueError(f"tensor {name} has {end - begin} bytes, which is not what its shape needs")
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(dtype, tuple(shape), data[begin:end].view(_BITS[dtype]), 0, stride)


def load(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """The tensors and the metadata. ValueError where the file is malformed, OSError where it cannot be opened."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("is no safetensors file: its header does not fit")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no safetensors file: its header is no JSON ({str(error)[:80]})") from None
    if not isinstance(header, dict):
        raise ValueError("is no safetensors file: its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ does not map strings to strings")
    data = np.memmap(path, np.uint8, "r", 8 + length) if size > 8 + length else np.empty(0, np.uint8)
    return {name: _tensor(name, entry, data) for name, entry in header.items()}, metadata
