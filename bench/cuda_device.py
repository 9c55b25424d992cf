"""Rates of devices, what the compiled kernels execute, and the time of a launch that follows (bench.cuda_costs).

A kernel takes the longer of two times. One is its bytes at the rate that copies reach. The other is its instructions:
products of tensor cores at the rate of mma.sync, and a clock of one of four schedulers for every other instruction of a
warp. Both are added, because the kernels that have both are one to three blocks on a multiprocessor that move in step.
Where few blocks fill the multiprocessors unevenly, the last round counts as a whole one. cuBLASLt's products take their
operations at the rate of its largest products and then their bytes.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Rates of one device, a second. Each says where it comes from; none has been measured by this project."""

    name: str
    multiprocessors: int
    clock: float
    copied: float  # bytes read and written by a large copy
    bf16: float  # operations of cuBLASLt's largest bf16 products
    e4m3: float
    mma: float  # operations of mma.sync in bf16; tf32 has half
    launch: float = 1e-6  # seconds between two kernels of a stream
    table: float = 4e-6  # seconds of a small copy from the host between two kernels

    @property
    def issued(self) -> float:
        """Instructions of warps."""
        return self.multiprocessors * 4 * self.clock


# Clock: the boost clock under load. Copies: a copy on an H200 reached 4.3 TB/s of 4.8; the H100 is given the same share
# of its 3.35. bf16: products of 8192^3 are published with 769 to 798 TFLOP/s; e4m3 with the same share of its peak.
# mma.sync: microbenchmarks have 0.63 of wgmma's rate.
_HOPPER = {"multiprocessors": 132, "clock": 1.755e9, "bf16": 790e12, "e4m3": 1480e12, "mma": 620e12}
DEVICES = {
    "h200": Device("H200", copied=4.3e12, **_HOPPER),
    "h100": Device("H100 SXM", copied=3.0e12, **_HOPPER),
}

# Of the copy rate: what kernels reach that load, compute a little and store. An estimate.
OF_COPY_RATE = 0.87

# ---- What the compiled kernels execute -------------------------------------------------------------------------------
# Counted by `python -m bench.sass` in the code that nvcc 13.0 makes for sm_90a, 2026-11-30: instructions of a warp
# without those of tensor cores.

# Linear attention, heads of 97 to 112 columns: a step of 32 tokens of the sums; 16 tokens of the outputs; loading S for
# the outputs of a block.
STATE_STEP = 655 - 56
OUTPUT_TOKENS = 2470 - 196
OUTPUT_LOAD = 7 * 112 * 120 // 32 // 8
# Attention: a step of 64 keys of 16 queries with 97 to 112 columns; a step of 32 keys where heads are wider than 128
# columns, here 384; and what stands before the first step.
ATTENTION_STEP = 634 - 112
ATTENTION_WIDE_STEP = 1700 - 172
ATTENTION_BEGIN = 900
# Depthwise convolution of SiLU(x) with two channels of four lines a thread: a column.
DEPTHWISE_COLUMN = 340
# Convolution in tiles of 8 x 32 pixels: a tap of 32 inputs, by channels of a block; and for each pair of sums what
# stands behind the loop.
CONV_TILE_TAP = {32: 49, 64: 46, 96: 65, 128: 68}
CONV_TILE_PAIR = 16
# Convolution tap after tap, 128 pixels: 32 places of the sum, and where they go on to another tap.
CONV_STEP = 123
CONV_TAP = 760


@dataclass
class Launch:
    """Launches of one name. `count` of them; everything else is of one."""

    name: str
    count: int = 1
    bytes: float = 0.0  # that must be read and written
    dense: float = 0.0  # operations of a cuBLASLt product
    narrow: bool = False  # whether those are in e4m3
    mma: float = 0.0  # operations of mma.sync, as in bf16
    instructions: float = 0.0  # of warps, all others
    blocks: int = 0  # of the grid; 0: so many that the last round does not count
    resident: int = 1  # blocks that a multiprocessor holds

    def seconds(self, device: Device) -> float:
        """Of all of them."""
        if self.dense:
            rate = device.e4m3 if self.narrow else device.bf16
            return self.count * (self.dense / rate + self.bytes / device.copied + device.launch)
        return self.count * (max(self._moved(device), self._computed(device)) + device.launch)

    def bound(self, device: Device) -> str:
        if self.dense:
            return "product"
        if self._computed(device) < self._moved(device):
            return "bytes"
        return "tensor cores" if self.mma / device.mma > self.instructions / device.issued else "instructions"

    def _moved(self, device: Device) -> float:
        return self.bytes / (OF_COPY_RATE * device.copied)

    def _computed(self, device: Device) -> float:
        seconds = self.mma / device.mma + self.instructions / device.issued
        if self.blocks:
            rounds = self.blocks / (device.multiprocessors * self.resident)
            seconds *= math.ceil(rounds) / rounds
        return seconds
