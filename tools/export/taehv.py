"""Cases of the tiny decoders (TAEHV), by the class restated in plain torch: madebyollin/taehv is no package.

Frames go one by one through functions over a dictionary of weights, whose names are those of taew2_1.safetensors. An
encoder's tensors lie in the published files and are not read; some lie here.
"""

import itertools
import json
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tools.export.folder import DTYPES, ModelFolder, bfloat16_draws, stored_as, write_case


class Weights(torch.nn.Module):
    """The decoder's tensors with their published names. `times`, `space`: the class's decoder_time_upscale and
    decoder_space_upscale as factors."""

    def __init__(self, channels: int, patch: int, widths: tuple, times: tuple, space: tuple = (2, 2, 2)):
        super().__init__()
        self.patch, self.times, self.space = patch, times, space
        self.names: list[str] = []
        self._conv("decoder.1", channels, widths[0], 3)
        for stage, (width, after) in enumerate(itertools.pairwise(widths)):
            layer = 3 + 6 * stage
            for block in range(layer, layer + 3):
                for number, inputs in ((0, 2 * width), (2, width), (4, width)):
                    self._conv(f"decoder.{block}.conv.{number}", inputs, width, 3)
            self._conv(f"decoder.{layer + 4}.conv", width, width * times[stage], 1, bias=False)
            self._conv(f"decoder.{layer + 5}", width, after, 3, bias=False)
        self._conv("decoder.22", widths[-1], 3 * patch**2, 3)

    def _conv(self, name: str, inputs: int, outputs: int, side: int, bias: bool = True) -> None:
        # As wide as keeps the frames' size behind a ReLU; less where a block's input is added. Pixels of about 0.5, so that
        # the clamp is reached by few.
        gain = 0.3 if name.endswith("conv.4") else 0.08 if name == "decoder.22" else 1.0
        weight = gain * torch.randn(outputs, inputs, side, side) * (2 / (inputs * side**2)) ** 0.5
        self._add(name + ".weight", weight)
        if bias:
            self._add(name + ".bias", 0.1 * torch.randn(outputs) + (0.5 if name == "decoder.22" else 0.0))

    def _add(self, name: str, value: torch.Tensor) -> None:
        self.names.append(name)
        self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(value, requires_grad=False))

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: self.get_parameter(name.replace(".", "_")) for name in self.names}


def _conv(tensors: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = tensors[name + ".weight"]
    return F.conv2d(x, weight, tensors.get(name + ".bias"), padding=weight.shape[2] // 2)


class _Stream:
    """Takes one latent frame and gives its video frames; remembers one input frame a memory block."""

    def __init__(self, model: Weights):
        self.model, self.tensors = model, model.tensors()
        self.past: dict[int, torch.Tensor] = {}
        self.dropped = model.times[0] * model.times[1] * model.times[2] - 1  # frames before the video's first

    def _memory(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        past = self.past.get(layer, torch.zeros_like(x))
        self.past[layer] = x
        h = F.relu(_conv(self.tensors, f"decoder.{layer}.conv.0", torch.cat([x, past], 1)))
        h = F.relu(_conv(self.tensors, f"decoder.{layer}.conv.2", h))
        return F.relu(_conv(self.tensors, f"decoder.{layer}.conv.4", h) + x)

    def _stage(self, stage: int, x: torch.Tensor) -> list[torch.Tensor]:
        layer = 3 + 6 * stage
        for block in range(layer, layer + 3):
            x = self._memory(block, x)
        x = F.interpolate(x, scale_factor=self.model.space[stage], mode="nearest")
        frames = _conv(self.tensors, f"decoder.{layer + 4}.conv", x).chunk(self.model.times[stage], 1)
        return [_conv(self.tensors, f"decoder.{layer + 5}", frame) for frame in frames]

    def push(self, z: torch.Tensor) -> list[torch.Tensor]:
        frames = [F.relu(_conv(self.tensors, "decoder.1", 3 * torch.tanh(z / 3)))]
        for stage in range(3):
            frames = [made for frame in frames for made in self._stage(stage, frame)]
        out = []
        for frame in frames:
            pixels = F.pixel_shuffle(_conv(self.tensors, "decoder.22", F.relu(frame)), self.model.patch).clamp(0, 1)
            if self.dropped:
                self.dropped -= 1
            else:
                out.append(pixels)
        return out


def decode(model: Weights, latents: torch.Tensor) -> torch.Tensor:
    """Normalised latents [1, C, T, h, w] to frames in -1...1, as the full decoders give them."""
    stream, dtype = _Stream(model), next(model.parameters()).dtype
    frames = [frame for t in range(latents.shape[2]) for frame in stream.push(latents[:, :, t].to(dtype))]
    return 2 * torch.stack(frames, 2).float() - 1


def case(
    out: Path,
    name: str,
    rng: random.Random,
    dtype: str,
    patch: int,
    times: tuple,
    widths: tuple | None = None,
    channels: int | None = None,
    latent_frames: int | None = None,
    size: tuple | None = None,
    space: tuple = (2, 2, 2),
) -> None:
    """A folder with a tiny decoder alone. Where not all stages double space, the config of a Wan VAE beside it says how many
    pixels a latent has."""
    seed = rng.randrange(2**31)
    torch.manual_seed(seed)
    widths = widths or tuple(rng.choice(choices) for choices in ((24, 40, 64), (16, 32), (12, 16, 20), (8, 16)))
    channels = channels or rng.choice([4, 16])
    model = stored_as(Weights(channels, patch, widths, times, space), dtype)
    folder = ModelFolder(out, name)
    (folder.path / "tiny_decoder").mkdir(exist_ok=True)
    if space != (2, 2, 2):
        vae_patch = patch * math.prod(space) // 8
        config = {"_class_name": "AutoencoderKLWan", "z_dim": channels, "base_dim": 8, "patch_size": vae_patch}
        config |= dict.fromkeys(("in_channels", "out_channels"), 3 * vae_patch**2)
        config |= {"latents_mean": [0.0] * channels, "latents_std": [1.0] * channels}
        (folder.path / "vae").mkdir(exist_ok=True)
        (folder.path / "vae/config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {key: value.detach().to(DTYPES[dtype]) for key, value in model.tensors().items()}
    tensors["encoder.0.weight"] = torch.zeros(8, 3 * patch**2, 3, 3, dtype=DTYPES[dtype])
    save_file(tensors, folder.path / "tiny_decoder" / "decoder.safetensors")

    generator = torch.Generator().manual_seed(seed)
    count = latent_frames or rng.choice([1, 2, 4])
    height, width = size or (rng.choice([2, 3]), rng.choice([2, 3, 5]))
    latents = 2 * torch.randn(1, channels, count, height, width, generator=generator)
    inputs = {"latents": latents}
    if count > 1:
        cut = rng.randrange(1, count)
        inputs["block_lengths"] = torch.tensor([cut, count - cut])  # any cut gives the same frames
    draws = bfloat16_draws(model, dtype, lambda m: {"frames": decode(m, latents)})
    write_case(out, name, "vae_decoder", name, inputs, draws, ["--decoder", "tiny"])


def committed_cases(out: Path, rng: random.Random) -> None:
    small = {"widths": (8, 6, 4, 4), "channels": 4, "latent_frames": 2, "size": (1, 2)}
    case(out, "tiny_decoder", rng, "bfloat16", 2, (1, 2, 2), **small)
