"""Runs longtake-module over exported cases and compares with what diffusers and transformers computed.

    python -m tools.parity DIR [--runner build/release/longtake-module] [--backends reference,cpu]
                               [--dtypes float32,bfloat16] [--only TEXT] [--json FILE]

Without --dtypes the CPU backend runs in bfloat16 where this machine can compute it (AVX512-BF16), and the table says where
it cannot; --dtypes bfloat16 fails there.

DIR is written by tools.export. In float32 the error max|actual - expected| / max|expected| of an output must not exceed
the case's bound. In bfloat16 its ratio to the error that torch makes in bfloat16 has a bound for each output and, lower,
for the geometric mean of each module's outputs and of all; CONTRIBUTING.md, "Numerics", gives the reasons. Token ids and
masks must be equal. Prints a table; the exit status is 1 when a bound is broken or a run fails. Needs numpy and safetensors.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

# Of the largest error of a bfloat16 output, in units of torch's.
BFLOAT16_MAX_RATIO = 2.5
EXACT = {"input_ids", "encoder_attention_mask"}
RUN_LIMIT_SECONDS = 300


@dataclass
class Row:
    """One output of one run."""

    case: str
    module: str
    backend: str
    dtype: str
    output: str
    error: float
    bound: float
    seconds: float
    message: str = ""

    @property
    def passed(self) -> bool:
        return not self.message and self.error <= self.bound


def machine_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine has the instruction set that the CPU backend needs for bfloat16 (engine/cpu/isa.h)."""
    return "avx512_bf16" in cpuinfo.read_text().split()


def dtypes_of(backend: str, asked: str | None, has_bfloat16: bool) -> list[str]:
    """The types that `backend` runs in: those `asked` for, else all that it can compute on this machine."""
    if backend == "reference":
        return ["float32"]  # by definition
    if asked is not None:
        return asked.split(",")
    return ["float32"] if backend == "cpu" and not has_bfloat16 else ["float32", "bfloat16"]


def bfloat16_ratio(outputs: int) -> float:
    """How large the geometric mean of the ratios of so many outputs may be: root mean square error to torch's."""
    return 0.65 * math.exp(1 / math.sqrt(outputs))


def relative_errors(actual: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """The difference by its root mean square and by its largest element, each divided by the same of `expected`."""
    if not np.isfinite(actual).all():
        return {"rms": math.inf, "max": math.inf}
    expected = expected.astype(np.float64)
    errors = {}
    for name, norm in (("rms", lambda x: np.sqrt(np.square(x).mean())), ("max", lambda x: np.abs(x).max(initial=0.0))):
        scale, difference = norm(expected), norm(actual - expected)
        errors[name] = float(difference / scale) if scale else float(difference)
    return errors


def compare(case: dict, inputs: dict, expected: dict, actual: dict, dtype: str):
    """Yields (output, error, bound, message). The error of bfloat16 is the root mean square, else the largest."""
    for name, reference in expected.items():
        low = dtype == "bfloat16" and name not in EXACT
        bound = 0.0 if name in EXACT else case["float32_bound"]
        if low:
            torch_error = case["torch_bfloat16_error"][name]
            bound = bfloat16_ratio(1) * torch_error["rms"]
        if name not in actual:
            yield name, float("inf"), bound, "output is missing"
            continue
        value = actual[name]
        if value.shape != reference.shape:
            yield name, float("inf"), bound, f"shape {list(value.shape)}, expected {list(reference.shape)}"
            continue
        if name in case["valid_rows"]:
            mask = {**expected, **inputs}[case["valid_rows"][name]].astype(bool)
            value, reference = value[mask], reference[mask]
        errors = relative_errors(value, reference)
        message = ""
        if low and errors["max"] > BFLOAT16_MAX_RATIO * torch_error["max"]:
            message = f"largest error {errors['max']:.2e}, torch's {torch_error['max']:.2e}"
        yield name, errors["rms" if low else "max"], bound, message


def group_faults(rows: list[Row]) -> Iterator[str]:
    """What is wrong with the geometric means: by backend, of each module's outputs and of all together."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.dtype == "bfloat16" and row.output not in EXACT and 0 < row.error < math.inf:
            log_ratio = math.log(row.error * bfloat16_ratio(1) / row.bound)
            for group in (row.module, "all modules"):
                groups.setdefault((row.backend, group), []).append(log_ratio)
    for (backend, group), logs in groups.items():
        mean, bound = math.exp(sum(logs) / len(logs)), bfloat16_ratio(len(logs))
        text = f"{backend}, {group}: {len(logs)} bfloat16 outputs with {mean:.2f} of torch's error, bound {bound:.2f}"
        print(text)
        if mean > bound:
            yield text


def run_case(folder: Path, root: Path, runner: Path, backend: str, dtype: str) -> list[Row]:
    case = json.loads((folder / "case.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    has_input = (folder / "input.safetensors").exists()
    inputs = {}
    if has_input:  # of the inputs only masks are compared with, and numpy has no bfloat16
        with safe_open(folder / "input.safetensors", "numpy") as file:
            inputs = {name: file.get_tensor(name) for name in set(case["valid_rows"].values()) & set(file.keys())}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out.safetensors"
        command = [runner, "--model", root / "models" / case["model"], "--module", case["module"]]
        command += ["--backend", backend, "--dtype", dtype, "--output", output]
        if has_input:
            command += ["--input", folder / "input.safetensors"]
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [*map(str, command), *case["arguments"]],
                capture_output=True,
                text=True,
                timeout=RUN_LIMIT_SECONDS,
                check=False,
            )
            failure = "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
        except subprocess.TimeoutExpired:
            failure = f"no end after {RUN_LIMIT_SECONDS} s"
        seconds = time.monotonic() - begin
        if failure:
            return [Row(folder.name, case["module"], backend, dtype, "-", float("inf"), 0.0, seconds, failure)]
        actual = load_file(output)
    return [
        Row(folder.name, case["module"], backend, dtype, name, error, bound, seconds, message)
        for name, error, bound, message in compare(case, inputs, expected, actual, dtype)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runner", type=Path, default=Path("build/release/longtake-module"))
    parser.add_argument("--backends", default="reference,cpu")
    parser.add_argument("--dtypes", help="float32, bfloat16 or both; by default what this machine computes")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write all rows there")
    arguments = parser.parse_args()

    cases = sorted(f for f in (arguments.directory / "cases").iterdir() if arguments.only in f.name)
    if not cases:
        print(f"no case in {arguments.directory}", file=sys.stderr)
        return 2
    rows = []
    has_bfloat16 = machine_has_bfloat16()
    if arguments.dtypes is None and not has_bfloat16:
        print("bfloat16 is left out on the cpu backend: this machine has no avx512_bf16")
    print(f"{'case':32} {'backend':9} {'dtype':8} {'output':24} {'error':>9} {'bound':>9}  {'s':>5}")
    for folder in cases:
        for backend in arguments.backends.split(","):
            for dtype in dtypes_of(backend, arguments.dtypes, has_bfloat16):
                for row in run_case(folder, arguments.directory, arguments.runner, backend, dtype):
                    rows.append(row)
                    mark = "" if row.passed else "  FAILED " + row.message
                    print(
                        f"{row.case:32} {row.backend:9} {row.dtype:8} {row.output:24} {row.error:9.2e} {row.bound:9.2e}"
                        f"  {row.seconds:5.2f}{mark}",
                        flush=True,
                    )
    if arguments.json:
        arguments.json.write_text(json.dumps([{**asdict(r), "passed": r.passed} for r in rows], indent=1) + "\n")
    failed = sum(not row.passed for row in rows)
    faults = list(group_faults(rows))
    print(f"{len(rows)} outputs compared, {failed} beyond their bound")
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if failed or faults else 0


if __name__ == "__main__":
    sys.exit(main())
