"""The 2B transformer in diffusers on a GPU against the engine: same weights, same inputs, outputs matched first, then both
timed alternating.

    python -m bench.peers.cuda --model DIR --runner longtake-bench-cuda [--module longtake-module] [--rounds 3] [--device N]

DIR is a folder of bench.cuda_models (or any with a transformer and longtake.json). Variants of diffusers, in bfloat16:
eager, and torch.compile (max-autotune) with each attention backend that this torch has. First one pass over two latent
frames is compared: the engine's error against diffusers in float32 must not exceed 1.5 times that of diffusers in
bfloat16. Then variants and engine take turns; a line of JSON each, the last with the best of both. Needs torch,
diffusers, safetensors, a GPU.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_RUNS = 2
BFLOAT16_RATIO = 1.5  # as of every parity test
HEIGHT, WIDTH = 60, 104  # of 480p's latents


def attention_backends(torch) -> dict:
    """Cross-attention's choices; the linear self-attention has none."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return {
        "default": contextlib.nullcontext,
        "flash": lambda: sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        "efficient": lambda: sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION),
        "cudnn": lambda: sdpa_kernel(SDPBackend.CUDNN_ATTENTION),
    }


def inputs(torch, config, frames: int, device):
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, config.in_channels, frames, HEIGHT, WIDTH, generator=generator)
    caption = torch.randn(1, 300, config.caption_channels, generator=generator)
    mask = torch.ones(1, 300, dtype=torch.int64)
    return latents.to(device), caption.to(device), mask.to(device), torch.tensor([889.0], device=device)


def call(model, dtype, tensors):
    latents, caption, mask, timestep = tensors
    return model(latents.to(dtype), caption.to(dtype), timestep, encoder_attention_mask=mask, return_dict=False)[0]


def match(torch, folder: Path, module: str, device, load) -> dict:
    """Errors of engine and diffusers in bfloat16, both against diffusers in float32, on two latent frames."""
    from safetensors.torch import load_file, save_file

    model = load(torch.float32)
    tensors = inputs(torch, model.config, 2, device)
    expected = call(model, torch.float32, tensors).float().cpu()
    peer = call(model.to(torch.bfloat16), torch.bfloat16, tensors).float().cpu()
    del model
    torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "in.safetensors", Path(scratch) / "out.safetensors"
        latents, caption, mask, timestep = (t.cpu().contiguous() for t in tensors)
        names = ("hidden_states", "encoder_hidden_states", "encoder_attention_mask", "timestep")
        save_file(dict(zip(names, (latents, caption, mask, timestep), strict=True)), given)
        command = [module, "--model", folder, "--module", "transformer", "--backend", "cuda", "--dtype", "bfloat16"]
        subprocess.run([*map(str, command), "--input", str(given), "--output", str(made)], check=True)
        own = load_file(made)["sample"]

    def error(x):
        return float((x - expected).abs().max() / expected.abs().max())

    return {"engine_error": error(own), "diffusers_bfloat16_error": error(peer)}


def time_variant(torch, model, frames: int, device, attention: str, rounds: int) -> float:
    """Best seconds of a pass over a block."""
    tensors = inputs(torch, model.config, frames, device)
    times = []
    with attention_backends(torch)[attention]():
        for _ in range(WARM_RUNS + rounds):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            call(model, torch.bfloat16, tensors)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
    return min(times[WARM_RUNS:])


def engine_seconds(runner: str, folder: Path, device: int) -> float:
    command = [runner, "--case", "pass", "--model", str(folder), "--device", str(device)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runner", required=True)
    parser.add_argument("--module", help="longtake-module; beside the runner where not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", type=int, default=0)
    arguments = parser.parse_args()

    import torch
    from diffusers import SanaVideoTransformer3DModel

    torch.set_grad_enabled(False)
    device = torch.device("cuda", arguments.device)

    def load(dtype):
        folder = arguments.model / "transformer"
        return SanaVideoTransformer3DModel.from_pretrained(folder, torch_dtype=dtype).to(device).eval()

    module = arguments.module or str(Path(arguments.runner).with_name("longtake-module"))
    errors = match(torch, arguments.model, module, device, load)
    print(json.dumps(errors), flush=True)
    if errors["engine_error"] > BFLOAT16_RATIO * errors["diffusers_bfloat16_error"]:
        print("the outputs do not match: nothing is timed", file=sys.stderr)
        return 1

    frames = json.loads((arguments.model / "longtake.json").read_text())["block_latent_frames"]
    variants = [("eager", "default"), *(("compiled", name) for name in attention_backends(torch))]
    results, own = [], []
    for mode, attention in variants:
        model = load(torch.bfloat16)
        if mode == "compiled":
            model = torch.compile(model, mode="max-autotune-no-cudagraphs")
        row = {"mode": mode, "attention": attention, "frames": frames}
        try:
            row["seconds"] = time_variant(torch, model, frames, device, attention, arguments.rounds)
        except RuntimeError as error:  # an attention that this device or shape lacks
            row["why"] = str(error).splitlines()[0][:200]
        del model
        torch.cuda.empty_cache()
        own.append(engine_seconds(arguments.runner, arguments.model, arguments.device))
        results.append(row)
        print(json.dumps(row | {"engine_seconds": own[-1]}), flush=True)
    timed = [r for r in results if "seconds" in r]
    if not timed:
        return 1
    best = min(timed, key=lambda r: r["seconds"])
    print(json.dumps({"best": best, "engine_seconds": min(own), "ratio": best["seconds"] / min(own)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
