"""Reads tensors from a `.pth` file as torch.save writes it, without torch and without running anything stored in it.

The file is a zip archive: a pickle with the structure, and the storages uncompressed beside it. Of the pickle only
containers, numbers, strings and tensors are taken; any other class becomes an inert `Opaque`. Tensors stay in the
mapped file until they are read.
"""

import collections
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# torch's storage classes -> type as safetensors names it, numpy type of its bits.
_STORAGES = {
    "FloatStorage": ("F32", np.dtype("<f4")),
    "HalfStorage": ("F16", np.dtype("<f2")),
    "BFloat16Storage": ("BF16", np.dtype("<u2")),
    "DoubleStorage": ("F64", np.dtype("<f8")),
    "LongStorage": ("I64", np.dtype("<i8")),
    "IntStorage": ("I32", np.dtype("<i4")),
    "BoolStorage": ("BOOL", np.dtype("?")),
    "ByteStorage": ("U8", np.dtype("u1")),
}


class PthError(ValueError):
    """The file is not what torch.save writes; the message names what is wrong."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the mapped file; bits() reads it."""

    dtype: str
    shape: tuple[int, ...]
    _storage: np.ndarray
    _offset: int
    _stride: tuple[int, ...]

    def bits(self) -> np.ndarray:
        """The elements, contiguous; bfloat16 as uint16. PthError where some would lie outside of the storage."""
        item = self._storage.dtype.itemsize
        if min(self.shape, default=1) > 0:
            steps = [(n - 1) * s for n, s in zip(self.shape, self._stride, strict=True)]
            first = self._offset + sum(s for s in steps if s < 0)
            last = self._offset + sum(s for s in steps if s > 0)
            if not 0 <= first <= last < self._storage.size:
                raise PthError("a tensor reaches beyond its storage")
            # A stride of 0 repeats elements: a file of a few bytes could ask for any memory.
            if math.prod(self.shape) > self._storage.size:
                raise PthError("a tensor has more elements than its storage")
        view = np.lib.stride_tricks.as_strided(
            self._storage[self._offset :], self.shape, [s * item for s in self._stride], writeable=False
        )
        return np.ascontiguousarray(view)


class Opaque:
    """Stands for an object of a class that is not read (an optimizer's, a logger's)."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass


def _rebuild_tensor(storage, offset, size, stride, *_) -> StoredTensor:
    dtype, data = storage
    size, stride = tuple(size), tuple(stride)
    if not all(isinstance(n, int) for n in (offset, *size, *stride)) or min(size, default=0) < 0 or len(size) != len(stride):
        raise PthError(f"a tensor of shape {size} and strides {stride}")
    return StoredTensor(dtype, size, data, offset, stride)


def _rebuild_parameter(data, *_) -> StoredTensor:
    return data


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, storages):
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return name
        return _ALLOWED.get((module, name), Opaque)

    def persistent_load(self, identifier: Any) -> Any:
        kind, storage_class, key, _, count = identifier
        if kind != "storage" or storage_class not in _STORAGES:
            raise PthError(f"storage of unknown type {storage_class}")
        dtype, item = _STORAGES[storage_class]
        return dtype, self._storages(key, item, count)


def _mapped_entry(path: Path, entry: zipfile.ZipInfo, item: np.dtype, count: int) -> np.ndarray:
    """A view of an uncompressed entry's bytes in the file."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise PthError(f"{entry.filename} is compressed; save it again with torch.save")
    if entry.file_size < count * item.itemsize:
        raise PthError(f"{entry.filename} holds {entry.file_size} bytes, expected {count * item.itemsize}")
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    begin = entry.header_offset + 30 + name_length + extra_length
    if count == 0:
        return np.empty(0, item)
    return np.memmap(path, item, "r", begin, (count,))


def load(path: Path) -> Any:
    """The saved object, tensors as StoredTensor. PthError says why it cannot be read, OSError where it cannot be opened."""
    try:
        return _load(path)
    except (PthError, OSError):
        raise
    except Exception as error:  # a damaged pickle or archive can raise anything
        raise PthError(f"cannot be read: {type(error).__name__}: {error}") from error


def _load(path: Path) -> Any:
    path.stat()  # is_zipfile takes a missing file for no archive
    if not zipfile.is_zipfile(path):
        raise PthError(f"{path} is no zip archive; files of torch before 1.6 have to be saved again with a newer one")
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            raise PthError(f"{path} holds {len(pickles)} data.pkl, expected 1")
        root = pickles[0].removesuffix("data.pkl")

        def storage(key: str, item: np.dtype, count: int) -> np.ndarray:
            try:
                entry = archive.getinfo(f"{root}data/{key}")
            except KeyError:
                raise PthError(f"{path}: storage {key} is missing") from None
            return _mapped_entry(path, entry, item, count)

        with archive.open(pickles[0]) as file:
            return _Unpickler(file, storage).load()
