"""Trains the bundled model: tokenizer, VAE, cached latents, text encoder with transformer, export.

    python -m tools.train --work out/train --minutes 600 --export models/longtake-tiny

Resumable: run the same command again after a kill. `--init FOLDER` starts from the weights of a model folder
instead of from nothing; with `vae=0` in --shares its encoder stays as it is. `decoder` is a last stage that trains
the VAE's decoder alone, for latents as they are.
"""

import argparse
import os

from tools.clips import vocabulary as V

# Large temporaries are otherwise given back to the kernel and faulted in again at every step: half of its time.
# Huge pages take a third off what is left (Xeon with AMX, one thread, 24 clips of one block: 1.54 s before, 1.05 s after).
_MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


def _restart_with_allocator():
    """glibc reads these only at start, so the process starts itself again once."""
    import sys

    if any(k not in os.environ for k in _MALLOC):
        os.environ.update({k: os.environ.get(k, v) for k, v in _MALLOC.items()})
        os.execv(sys.executable, [sys.executable, "-m", "tools.train", *sys.argv[1:]])


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for checkpoints, latents, sheets; never committed")
    parser.add_argument("--minutes", type=float, required=True, help="wall time of all stages together, resumed runs counted")
    parser.add_argument("--shares", default="vae=0.36,cache=0.12,dit=0.44,decoder=0.08", help="of the minutes, by stage")
    parser.add_argument("--init", help="model folder to start from")
    parser.add_argument("--fresh-dit", action="store_true", help="with --init: take only its VAE")
    parser.add_argument(
        "--go-on", action="store_true", help="with --init: its transformer knows images and guidance: mixed clips from the start"
    )
    parser.add_argument("--export", help="model folder to write")
    parser.add_argument("--clips", type=int, default=30000, help="at most so many cached clips (64 kB each)")
    parser.add_argument("--level", type=int, default=V.BUNDLED, help="of the clips: see tools/clips/vocabulary.py")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    return parser.parse_args()


def _compatible(tok, told):
    from tools.train import settings

    return len(tok) >= 100 and told["caption_tokens"] == settings.CAPTION_TOKENS


def main():
    args = _arguments()
    _restart_with_allocator()
    import torch

    from tools.train import cache, folder, generate, run, tokenizer, train_dit, vae

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    os.makedirs(args.work, exist_ok=True)
    minutes = dict.fromkeys(("vae", "cache", "dit", "decoder"), 0.0)
    minutes |= {k: float(v) * args.minutes for k, v in (p.split("=") for p in args.shares.split(","))}
    dev = run.device()
    print(f"on {dev}, minutes: {minutes}", flush=True)

    init = generate.load(args.init) if args.init else None
    path = os.path.join(args.work, "tokenizer.model")
    old = os.path.join(args.init, "tokenizer", "tokenizer.model") if args.init else None
    keep = init is not None and not args.fresh_dit and _compatible(init[3], init[4])
    if not os.path.exists(path):
        if keep:
            with open(old, "rb") as source, open(path, "wb") as target:
                target.write(source.read())
        else:
            tokenizer.train(path)
    tok = tokenizer.Tokenizer(path)

    if minutes["vae"] > 0:
        autoencoder = vae.train(args.work, minutes["vae"], args.level, None if init is None else init[1])
    elif init is not None:
        autoencoder = init[1].to(dev).requires_grad_(False)
    else:
        raise SystemExit("vae=0 needs --init")
    cache.build(args.work, autoencoder, tok, minutes["cache"], args.clips, args.level)
    stats = init[2] if init is not None and minutes["vae"] == 0 else cache.statistics(cache.load(args.work)["latents"])
    start = None if init is None or args.fresh_dit else (init[0], init[3])
    models = train_dit.train(args.work, minutes["dit"], autoencoder, stats, tok, start, args.go_on)
    if minutes["decoder"] > 0:
        autoencoder = vae.train(args.work, minutes["decoder"], args.level, autoencoder, decoder_only=True)
    if args.export:
        folder.write(args.export, models, autoencoder, stats, path)
        print("written", args.export, flush=True)


if __name__ == "__main__":
    main()
