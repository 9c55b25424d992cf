"""Writes and reads safetensors without holding a model in memory. Needs numpy only.

A folder part is one file, or shards of at most a given size with an index, as diffusers and transformers save them.
"""

import json
import math
import mmap
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written: its name, shape and type (a key of ITEM_BYTES)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16 (uint16), rounded to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values in the storage type."""
    if dtype == "BF16":
        return to_bfloat16(values)
    return values.astype({"F32": np.float32, "F16": np.float16}[dtype])


def write_part(
    folder: Path,
    stem: str,
    specs: Iterable[TensorSpec],
    values: Callable[[TensorSpec], np.ndarray],
    shard_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `stem.safetensors` or shards of it.

    values(spec) returns the stored bytes of one tensor as an array; it is called once for each, in file order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[TensorSpec]] = [[]]
    for spec in specs:
        if shard_bytes and shards[-1] and sum(s.bytes for s in shards[-1]) + spec.bytes > shard_bytes:
            shards.append([])
        shards[-1].append(spec)
    total = sum(spec.bytes for shard in shards for spec in shard)
    done = 0
    weight_map = {}
    for index, shard in enumerate(shards):
        name = f"{stem}.safetensors"
        if len(shards) > 1:
            name = f"{stem}-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for spec in shard:
            header[spec.name] = {
                "dtype": spec.dtype,
                "shape": list(spec.shape),
                "data_offsets": [offset, offset + spec.bytes],
            }
            weight_map[spec.name] = name
            offset += spec.bytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for spec in shard:
                data = np.ascontiguousarray(values(spec))
                if data.nbytes != spec.bytes:
                    raise ValueError(f"{spec.name}: {data.nbytes} bytes, expected {spec.bytes}")
                file.write(data)
                done += spec.bytes
                if progress:
                    progress(done, total)
    if len(shards) > 1:
        index_file = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index_file, indent=2, sort_keys=True) + "\n")


def read_header(path: Path) -> dict[str, dict]:
    """Name -> {dtype, shape, data_offsets} of one file, without its metadata."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header


def read_bytes(path: Path, name: str) -> bytes:
    """The stored bytes of one tensor."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (length,) = struct.unpack("<Q", data[:8])
        begin, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
        return data[8 + length + begin : 8 + length + end]
