"""Counts the instructions of kernels' loops in the compiled code, which needs no device.

    python -m bench.sass engine/cuda/kernels/depthwise.cu [FILE...] [--arch sm_90a] [--only TEXT] [--json]

Compiles each file with nvcc, disassembles it with cuobjdump (PyPI: nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm, where the
toolkit does not have them), and prints for each kernel its registers, spills and instructions, and for each loop the
instructions that are in no loop within it, by kind. A warp issues one instruction a clock at most, so a loop that a kernel
spends its time in takes at least instructions x warps / (multiprocessors x 4) clocks.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", f"-I{ROOT}", f"-I{ROOT}/engine/cuda/platform"]
FLAGS += ["-DLONGTAKE_HOST_DEVICE=__host__ __device__"]

# Kinds in the order in which they are looked for; the first that fits counts.
KINDS = {
    "products": r"HMMA|WGMMA|IMMA",
    "multiply-add": r"FFMA|HFMA2|FMUL|FADD|HADD2|HMUL2",
    "special": r"MUFU",
    "convert": r"F2F|F2FP|I2F|F2I|I2FP",
    "global": r"LDG|STG|LD|ST|ATOM|RED",
    "shared": r"LDS|STS|LDSM|STSM|LDGSTS",
    "local": r"LDL|STL",
    "compare": r"FSETP|ISETP|FMNMX|IMNMX|VIMNMX|FSEL|SEL|PLOP3|P2R|R2P",
    "shuffle": r"SHFL|VOTE|REDUX|MATCH",
    "barrier": r"BAR|DEPBAR|LDGDEPBAR|MEMBAR|WARPSYNC|BSSY|BSYNC|BRA|EXIT|NOP",
    "integer": r".*",
}


@dataclass
class Loop:
    instructions: int = 0
    kinds: Counter = field(default_factory=Counter)


@dataclass
class Kernel:
    name: str
    registers: int = 0
    spills: int = 0
    instructions: int = 0
    loops: list[Loop] = field(default_factory=list)


def kind_of(opcode: str) -> str:
    name = opcode.split(".")[0]
    return next(kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name))


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench.sass: {command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout + done.stderr


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"bench.sass: {name} is not on the PATH")
    return found


def read_usage(text: str) -> dict[str, tuple[int, int]]:
    """Registers and bytes of spills by mangled name, from ptxas' report."""
    usage, name, spills = {}, "", 0
    for line in text.splitlines():
        if match := re.search(r"Function properties for (\S+)|Compiling entry function '(\S+)'", line):
            name = match[1] or match[2]
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spills = int(match[1]) + int(match[2])
        elif match := re.search(r"Used (\d+) registers", line):
            usage[name] = (int(match[1]), spills)
    return usage


def read_sass(text: str) -> dict[str, list[tuple[int, str, str]]]:
    """Instructions (address, opcode, operands) by mangled name."""
    functions, name = {}, ""
    for line in text.splitlines():
        if match := re.search(r"Function : (\S+)", line):
            name = match[1]
            functions[name] = []
        elif match := re.match(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9_.]*)\s*([^;]*);", line):
            functions[name].append((int(match[1], 16), match[2], match[3]))
    return functions


def loops_of(code: list[tuple[int, str, str]]) -> list[Loop]:
    """A branch back closes a loop. The instructions of loops within a loop are theirs alone. The branch to itself that
    stands behind the end of every function is none."""
    spans = {}
    for address, opcode, operands in code:
        match = re.search(r"0x([0-9a-f]+)\s*$", operands) if opcode.startswith("BRA") else None
        if match and int(match[1], 16) < address:
            first = int(match[1], 16)
            spans[first] = max(address, spans.get(first, 0))  # `continue` is a branch back as well
    loops = {first: Loop() for first in spans}
    for address, opcode, _ in code:
        around = [first for first, last in spans.items() if first <= address <= last]
        if around:
            loop = loops[max(around)]
            loop.instructions += 1
            loop.kinds[kind_of(opcode)] += 1
    return sorted(loops.values(), key=lambda loop: -loop.instructions)


def kernels_of(file: Path, arch: str) -> list[Kernel]:
    with tempfile.TemporaryDirectory() as folder:
        cubin = f"{folder}/kernels.cubin"
        usage = read_usage(run([tool("nvcc"), *FLAGS, f"-arch={arch}", "-cubin", "-Xptxas", "-v", "-o", cubin, str(file)]))
        code = read_sass(run([tool("cuobjdump"), "-sass", cubin]))
    names = run([tool("c++filt"), "-p", *code]).splitlines() if code else []
    kernels = []
    for mangled, name in zip(code, names, strict=True):
        registers, spills = usage.get(mangled, (0, 0))
        short = name.replace("longtake::cuda::(anonymous namespace)::", "").replace("longtake::cuda::", "")
        kernels.append(Kernel(short, registers, spills, len(code[mangled]), loops_of(code[mangled])))
    return sorted(kernels, key=lambda kernel: kernel.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--only", default="", help="kernels whose name has this text")
    parser.add_argument("--json", action="store_true", help="one object a kernel, for comparing two versions")
    arguments = parser.parse_args()
    for file in arguments.files:
        for kernel in kernels_of(file, arguments.arch):
            if arguments.only not in kernel.name:
                continue
            if arguments.json:
                print(json.dumps({**vars(kernel), "loops": [vars(loop) for loop in kernel.loops]}))
                continue
            spills = f", {kernel.spills} bytes of spills" if kernel.spills else ""
            print(f"{kernel.name}: {kernel.registers} registers{spills}, {kernel.instructions} instructions")
            for loop in kernel.loops:
                kinds = ", ".join(f"{loop.kinds[kind]} {kind}" for kind in KINDS if loop.kinds[kind])
                print(f"    loop of {loop.instructions}: {kinds}")


if __name__ == "__main__":
    main()
