"""What the CUDA backend launches in a denoising pass and for a decoded latent frame, and what each launch does.

The transformer of the first generation with a Wan VAE. scripts/gpu.sh compares names and numbers with what was launched.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from bench.cuda_device import (
    ATTENTION_BEGIN,
    ATTENTION_STEP,
    ATTENTION_WIDE_STEP,
    CONV_STEP,
    CONV_TAP,
    CONV_TILE_PAIR,
    CONV_TILE_TAP,
    DEPTHWISE_COLUMN,
    OUTPUT_LOAD,
    OUTPUT_TOKENS,
    STATE_STEP,
    Launch,
)
from tools.make_model import TRANSFORMER, VAE


def up(n: int, to: int) -> int:
    return -(-n // to) * to


class Launches(list[Launch]):
    """Launches in the backend's order, and the rules by which engine/cuda/dense_plan.cc cuts a dense layer."""

    def add(self, name: str, **costs) -> None:
        self.append(Launch(name, **costs))

    def rows(self, name: str, rows: int, *row_bytes: float) -> None:
        """A kernel that walks over rows and is bound by what it moves."""
        self.add(name, bytes=rows * sum(row_bytes))

    def dense(
        self,
        rows: int,
        inputs: int,
        outputs: int,
        *,
        f32: bool = False,
        silu: bool = False,
        residual: bool = False,
        gate: bool = False,
        add: bool = False,
        narrow: bool = False,
    ) -> None:
        """`f32`: what it writes, else bf16. `narrow`: weights in e4m3."""
        columns, product_outputs = up(inputs, 16), up(outputs, 16)
        element = 1 if narrow else 2
        if narrow:
            self.rows("quantize to e4m3", rows, 2 * inputs, columns)
        elif columns != inputs:
            self.rows("pad", rows, 2 * inputs, 2 * columns)
        fits = outputs % 16 == 0 and not add and not gate
        after = fits and not residual and silu and not f32 and outputs >= 4096
        through_sums = not fits or (silu and not after)
        sums = 2 if gate else 4
        out = sums if through_sums else 4 if f32 else 2
        read = 4 if residual and not through_sums else 0
        self.add(
            f"matrix product of {columns} inputs, {product_outputs} outputs",
            bytes=element * columns * (rows + product_outputs) + rows * product_outputs * (out + read),
            dense=2.0 * rows * columns * product_outputs,
            narrow=narrow,
        )
        y = 4 if f32 else 2
        if after:
            self.rows("activate", rows, 2 * y * outputs)
        elif through_sums:
            self.rows("epilogue", rows, sums * product_outputs, (2 if residual else 1) * y * outputs, 2 * outputs if add else 0)


# ---- The transformer -------------------------------------------------------------------------------------------------


def denoise(config: dict, frames: int, height: int, width: int, caption: int, *, narrow: bool = False) -> Launches:
    """A pass of one session over `frames` latent frames of height x width: engine/models/sana/transformer.cc, RunForward,
    and the noise and the sampler's step around it."""
    launches = Launches()
    pt, ph, pw = config["patch_size"]
    heads, head = config["num_attention_heads"], config["attention_head_dim"]
    cross_heads, cross_head = config["num_cross_attention_heads"], config["cross_attention_head_dim"]
    d, cross = heads * head, cross_heads * cross_head
    hidden = int(config["mlp_ratio"] * d)
    rows, columns = height // ph, width // pw
    n = frames // pt * rows * columns
    volume = pt * ph * pw
    latents = config["in_channels"] * frames * height * width
    norms = 1 if config["qk_norm"] else 0

    launches.add("fill_normal", count=2, bytes=4 * latents)
    launches.rows("patchify", n, 4 * config["in_channels"] * volume, 2 * config["in_channels"] * volume)
    launches.dense(n, config["in_channels"] * volume, d, f32=True)
    launches.rows("timestep_sinusoids", 1, 2 * 256)
    launches.dense(1, 256, d, silu=True)
    launches.dense(1, d, d, f32=True)
    launches.rows("activate", 1, 6 * d)
    launches.dense(1, d, 6 * d, f32=True)
    for _ in range(config["num_layers"]):
        launches.rows("add_row", 1, 3 * 4 * 6 * d)
        launches.rows("layer_norm", n, 4 * d, 2 * d)
        launches.dense(n, d, 3 * d, narrow=narrow)
        linear_attention(launches, n, heads, head, norms)
        launches.dense(n, d, d, f32=True, residual=True, gate=True, narrow=narrow)
        launches.rows("activate", n, 4 * d, 2 * d)
        launches.dense(n, d, cross, narrow=narrow)
        if norms:
            launches.rows("inverse_rms", n, 2 * cross)
        attention(launches, n, caption, cross_heads, cross_head)
        launches.dense(n, cross, d, f32=True, residual=True, narrow=narrow)
        launches.rows("layer_norm", n, 4 * d, 2 * d)
        launches.dense(n, d, 2 * hidden, narrow=narrow)
        groups, warps = n // (rows * columns) * math.ceil(rows / 4), math.ceil(hidden / 256) * 4
        launches.add(
            "depthwise_glu",
            bytes=n * 3 * 2 * hidden,
            instructions=groups * warps * columns * DEPTHWISE_COLUMN,
            blocks=groups * math.ceil(hidden / 256),
            resident=3,
        )
        launches.dense(n, hidden, d, narrow=narrow)
        launches.rows("gather_frames", n, 2 * d, 3 * 2 * d)
        launches.dense(n, 3 * d, d, f32=True, add=True, residual=True, gate=True)
    launches.add("add_row", count=2, bytes=12 * d)
    launches.rows("layer_norm", n, 4 * d, 2 * d)
    launches.dense(n, d, config["out_channels"] * volume, f32=True)
    launches.rows("unpatchify", n, 8 * config["out_channels"] * volume)
    launches.add("combine", bytes=16 * latents)
    return launches


def linear_attention(launches: Launches, n: int, heads: int, head: int, norms: int) -> None:
    """kernels/linear_attention.cu; q, k and v are bf16."""
    d, tiles = heads * head, min(math.ceil(head / 16), 8)
    shares, output_shares, state = math.ceil(n / 608), math.ceil(n / 256), heads * head * (head + 1)
    launches.add("inverse_rms", count=2 * norms, bytes=n * 2 * d)
    launches.add(
        "linear_attention_state",
        bytes=n * 4 * d + 4 * shares * state,
        mma=2 * 2.0 * n * heads * (16 * tiles) ** 2,
        instructions=heads * math.ceil(n / 32) * tiles * STATE_STEP,
        blocks=shares * heads,
        resident=2,
    )
    launches.add("linear_attention_reduce", bytes=4 * (shares + 3) * state)
    launches.add(
        "linear_attention_output",
        bytes=n * 4 * d,
        mma=2 * 2.0 * n * heads * (16 * tiles) ** 2,
        instructions=heads * (math.ceil(n / 16) * OUTPUT_TOKENS + output_shares * 8 * OUTPUT_LOAD),
        blocks=output_shares * heads,
        resident=2,
    )


def attention(launches: Launches, n: int, keys: int, heads: int, head: int) -> None:
    """kernels/attention.cu. Heads wider than a slice have their scores made once for each slice, in steps of 32 keys."""
    padded = up(head, 16)
    slices = math.ceil(padded / 128)
    blocks = math.ceil(n / 64) * heads * slices
    step_keys, step = (64, ATTENTION_STEP) if slices == 1 else (32, ATTENTION_WIDE_STEP)
    steps = math.ceil(keys / step_keys)
    launches.add(
        "attention",
        bytes=n * heads * 4 * head + 4 * keys * heads * padded,
        mma=2.0 * blocks * 64 * steps * step_keys * (padded + padded / slices),  # scores over all columns
        instructions=blocks * 4 * (ATTENTION_BEGIN + steps * step),
        blocks=blocks,
        resident=3 if slices == 1 else 2,
    )


# ---- The decoder -----------------------------------------------------------------------------------------------------


def conv(launches: Launches, height: int, width: int, inputs: int, outputs: int, taps: tuple[int, int, int], **how) -> None:
    """kernels/conv.cu and conv_tile.cu: f32 frames out (`f32`), from bf16 frames with `height` x `width` outputs."""
    kt, kh, kw = taps
    f32, residual, doubled = how.get("f32", True), how.get("residual", False), how.get("doubled", False)
    pixels = height * width
    out = 4 if f32 else 2
    moved = kt * 2 * inputs * pixels / (4 if doubled else 1) + pixels * outputs * out * (2 if residual else 1)
    moved += 2 * kt * kh * kw * inputs * outputs
    if (kh, kw) == (3, 3) and inputs % 32 == 0:
        tiles = math.ceil(height / 8) * math.ceil(width / 32)
        # As conv_tile.cu chooses, on a Hopper: half as many products of the tensor cores as channels, 6.1 clocks each.
        clocks = {c: round(6.1 * c / 2) + other for c, other in CONV_TILE_TAP.items()}
        channels = min(clocks, key=lambda c: (math.ceil(tiles * math.ceil(outputs / c) / 132) * clocks[c], -c))
        blocks = tiles * math.ceil(outputs / channels)
        steps = kt * 9 * (inputs // 32)
        launches.add(
            "conv_tile",
            bytes=moved,
            mma=2.0 * blocks * 256 * channels * 32 * steps,
            instructions=blocks * 8 * (steps * CONV_TILE_TAP[channels] + channels // 2 * CONV_TILE_PAIR),
            blocks=blocks,
        )
        return
    channels = min((128, 96, 64, 32), key=lambda c: (up(outputs, c), -c))
    blocks = math.ceil(pixels / 128) * math.ceil(outputs / channels)
    steps = math.ceil(kt * kh * kw * inputs / 32)
    launches.add(
        "conv",
        bytes=moved,
        mma=2.0 * blocks * 128 * channels * 32 * steps,
        instructions=blocks * 8 * steps * (CONV_STEP + CONV_TAP * min(1.0, 32 / inputs)),
        blocks=blocks,
        resident=2,
    )


class Decoder:
    """One latent frame that is not a video's first: engine/models/wan/decoder.cc."""

    def __init__(self, config: dict, height: int, width: int):
        self.launches = Launches()
        self.config = config
        multiples = config["dim_mult"]
        self.widths = [config["base_dim"] * m for m in reversed(multiples)]
        self.doubles = list(reversed(config["temperal_downsample"]))
        self.sizes = [(height << i, width << i) for i in range(len(multiples))]
        z = config["z_dim"]
        pixels, widest = height * width, self.widths[0]
        self.launches.rows("latents_to_frame", pixels, 6 * z)
        self.launches.dense(pixels, z, z)
        self.conv(0, z, widest)
        self.middle(widest)
        self.stage(0, widest)
        self.launches.add("copy_each", bytes=8 * z * pixels)

    def conv(self, stage: int, inputs: int, outputs: int, **how) -> None:
        conv(self.launches, *self.sizes[stage], inputs, outputs, (3, 3, 3), **how)

    def norm(self, stage: int, channels: int) -> None:
        self.launches.rows("channel_norm", math.prod(self.sizes[stage]), 6 * channels)

    def residual(self, stage: int, inputs: int, outputs: int) -> None:
        pixels = math.prod(self.sizes[stage])
        self.norm(stage, inputs)
        self.conv(stage, inputs, outputs)
        self.norm(stage, outputs)
        if inputs != outputs:
            self.launches.rows("activate", pixels, 6 * inputs)
            self.launches.dense(pixels, inputs, outputs, f32=True)
        self.conv(stage, outputs, outputs, residual=True)

    def middle(self, width: int) -> None:
        pixels = math.prod(self.sizes[0])
        self.residual(0, width, width)
        self.norm(0, width)
        self.launches.dense(pixels, width, 3 * width)
        self.launches.rows("rotate_heads", pixels, 12 * width)
        attention(self.launches, pixels, pixels, 1, width)
        conv(self.launches, *self.sizes[0], width, width, (1, 1, 1), residual=True)
        self.residual(0, width, width)

    def stage(self, index: int, inputs: int) -> None:
        width, (height, columns) = self.widths[index], self.sizes[index]
        pixels = height * columns
        for block in range(self.config["num_res_blocks"] + 1):
            self.residual(index, inputs if block == 0 else width, width)
        if index + 1 == len(self.widths):
            self.norm(index, width)
            self.conv(index, width, self.config["out_channels"])
            self.launches.rows("frame_to_i420", pixels, 4 * self.config["out_channels"], 1.5)
            return
        self.launches.rows("activate", pixels, 6 * width)
        frames = 2 if self.doubles[index] else 1
        if frames == 2:
            for _ in range(2):
                conv(self.launches, height, columns, width, width, (3, 1, 1), f32=False)
        for _ in range(frames):
            conv(self.launches, *self.sizes[index + 1], width, width // 2, (1, 3, 3), doubled=True)
            self.stage(index + 1, width // 2)


# ---- A model -------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    transformer: dict
    vae: dict
    settings: dict

    @staticmethod
    def read(folder: Path) -> "Model":
        files = ("transformer/config.json", "vae/config.json", "longtake.json")
        return Model(*(json.loads((folder / file).read_text()) for file in files))

    @staticmethod
    def two_billion() -> "Model":
        settings = {"block_latent_frames": 10, "caption_tokens": 300, "sizes": ["832x480"]}
        return Model(TRANSFORMER, VAE, settings)

    def launches(self, dtype: str) -> dict[str, Launches]:
        """By kind of pass, those of one name together."""
        for part, name in ((self.transformer, "SanaVideoTransformer3DModel"), (self.vae, "AutoencoderKLWan")):
            if part["_class_name"] != name:
                raise SystemExit(f"bench.cuda_costs: _class_name: {part['_class_name']}, only {name} is known")
        width, height = (int(n) // 8 for n in self.settings["sizes"][0].split("x"))
        frames = self.settings["block_latent_frames"]
        caption = self.settings["caption_tokens"]
        return {
            "denoise": denoise(self.transformer, frames, height, width, caption, narrow=dtype == "float8"),
            "decode": Decoder(self.vae, height, width).launches,
        }
