"""The streaming writer against the safetensors library."""

import numpy as np
import pytest
from safetensors import safe_open

from tools import safetensors_stream as stream

SPECS = [
    stream.TensorSpec("a.weight", (3, 5), "F32"),
    stream.TensorSpec("b", (7,), "F16"),
    stream.TensorSpec("c.bias", (2, 2, 2), "F32"),
]


def values(spec: stream.TensorSpec) -> np.ndarray:
    count = int(np.prod(spec.shape))
    return stream.encode(np.arange(count, dtype=np.float32).reshape(spec.shape) - len(spec.name), spec.dtype)


@pytest.mark.parametrize("shard_bytes", [None, 61, 1])
def test_library_reads_what_is_written(tmp_path, shard_bytes):
    stream.write_part(tmp_path, "model", SPECS, values, shard_bytes)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == {None: 1, 61: 2, 1: 3}[shard_bytes]
    assert (tmp_path / "model.safetensors.index.json").exists() == (len(files) > 1)
    read = {}
    for file in files:
        with safe_open(file, "np") as tensors:
            read |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    assert sorted(read) == sorted(spec.name for spec in SPECS)
    for spec in SPECS:
        np.testing.assert_array_equal(read[spec.name], values(spec))


def test_index_names_the_file_of_each_tensor(tmp_path):
    stream.write_part(tmp_path, "model", SPECS, values, 1)
    index = stream.json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(spec.bytes for spec in SPECS)
    for name, file in index["weight_map"].items():
        assert name in stream.read_header(tmp_path / file)


def test_wrong_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.weight"):
        stream.write_part(tmp_path, "model", SPECS, lambda _: np.zeros(3, np.float32))


def test_bfloat16_rounds_to_nearest_even():
    exact = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf], np.float32)
    assert (stream.to_bfloat16(exact) == exact.view(np.uint32) >> 16).all()
    one, step = 0x3F80, 2.0**-7  # bfloat16 has 7 bits after the leading one
    ties = np.array([1 + step / 2, 1 + 3 * step / 2, 1 + 0.51 * step, 1 + 0.49 * step], np.float32)
    assert stream.to_bfloat16(ties).tolist() == [one, one + 2, one + 1, one]
    assert np.isnan((stream.to_bfloat16(np.array([np.nan], np.float32)).astype(np.uint32) << 16).view(np.float32)).all()
