"""tools/parity.py: its rule for bfloat16 (one output may be far off by noise, many may not), and the types that it runs."""

import numpy as np

from tools import parity

CASE = {
    "float32_bound": 1e-5,
    "torch_bfloat16_error": {"sample": {"rms": 0.01, "max": 0.01}},
    "valid_rows": {},
}


def rows(ratio: float, count: int) -> list[parity.Row]:
    bound = parity.bfloat16_ratio(1) * 0.01
    return [parity.Row(f"case_{i}", "transformer", "cpu", "bfloat16", "sample", ratio * 0.01, bound, 0.0) for i in range(count)]


def test_bfloat16_runs_where_the_machine_computes_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx512f avx512_vnni\nbugs\t\t: taa\n")
    assert not parity.machine_has_bfloat16(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f avx512_bf16\n")
    assert parity.machine_has_bfloat16(cpuinfo)

    assert parity.dtypes_of("cpu", None, has_bfloat16=True) == ["float32", "bfloat16"]
    assert parity.dtypes_of("cpu", None, has_bfloat16=False) == ["float32"]
    assert parity.dtypes_of("cpu", "bfloat16", has_bfloat16=False) == ["bfloat16"]  # fails, as who asks for it expects
    assert parity.dtypes_of("cuda", None, has_bfloat16=False) == ["float32", "bfloat16"]
    assert parity.dtypes_of("reference", "float32,bfloat16", has_bfloat16=True) == ["float32"]


def test_one_output_may_be_far_off_and_many_may_not():
    assert all(row.passed for row in rows(1.2, 60))
    assert list(parity.group_faults(rows(1.2, 1))) == []
    assert len(list(parity.group_faults(rows(1.2, 60)))) == 2  # the module, and all
    assert list(parity.group_faults(rows(0.58, 60))) == []


def test_a_group_of_one_has_the_bound_of_an_output():
    limit = parity.bfloat16_ratio(1)
    assert list(parity.group_faults(rows(limit * 0.99, 1))) == []
    assert len(list(parity.group_faults(rows(limit * 1.01, 1)))) == 2


def test_a_single_wrong_element_of_many_is_found():
    expected = np.sin(np.arange(100_000, dtype=np.float32))
    actual = expected.copy()
    actual[777] += 0.5
    [(_, error, bound, message)] = parity.compare(CASE, {}, {"sample": expected}, {"sample": actual}, "bfloat16")
    assert error <= bound
    assert "largest error" in message


def test_an_output_that_is_not_finite_is_found():
    expected = np.ones(3, dtype=np.float32)
    actual = np.array([1, np.nan, 1], dtype=np.float32)
    [(_, error, bound, _)] = parity.compare(CASE, {}, {"sample": expected}, {"sample": actual}, "bfloat16")
    assert error > bound
