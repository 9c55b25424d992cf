"""What a cache of packed weights saves at the start: ./scripts/bench.sh loading.

    python -m bench.loading --build DIR [--layers N] [--rounds N] [--dtype TYPE]

A folder of random weights at the 2B widths, with fewer layers so that folder, cache and weights fit into memory together, is
loaded in turns without a cache, with an empty one, and with the one that this has left. A load ends where the server would be
ready. The files have been read before, so no disk is measured but for the writing of the cache.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess

from bench.live import cpu_model, say
from bench.models import TOKENIZER
from tools.make_model import PARTS, write_model

_SETTINGS = {"timesteps": [1000], "block_latent_frames": 1, "max_latent_frames": 1, "sizes": ["128x64"]}


def write(folder, layers):
    changes = {"transformer": {"num_layers": layers}, "text_encoder": {"num_hidden_layers": layers}, "vae": {}}
    write_model(folder, list(PARTS), changes, settings=_SETTINGS, tokenizer=TOKENIZER)


def seconds(build, folder, dtype, cache) -> float:
    command = [build / "longtake-fullsize", "--model", folder, "--dtype", dtype, "--load-only"]
    command += ["--weight-cache", cache] if cache else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return float(re.search(r"^load +([0-9.]+) s", done.stdout, re.MULTILINE)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--layers", type=int, default=8, help="of the transformer, and of the text encoder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    a = parser.parse_args()
    out = pathlib.Path("build/bench-loading")
    shutil.rmtree(out, ignore_errors=True)
    say("writing the folder")
    write(out / "model", a.layers)
    cache = out / "cache"
    took = {"without": [], "first": [], "again": []}
    seconds(a.build, out / "model", a.dtype, None)  # reads the files
    for turn in range(a.rounds):
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        took["without"].append(seconds(a.build, out / "model", a.dtype, None))
        took["first"].append(seconds(a.build, out / "model", a.dtype, cache))
        took["again"].append(seconds(a.build, out / "model", a.dtype, cache))
        say(f"round {turn + 1} of {a.rounds}: " + ", ".join(f"{name} {all_[-1]:.2f} s" for name, all_ in took.items()))
    median = {name: statistics.median(all_) for name, all_ in took.items()}
    kept = sum(path.stat().st_size for path in cache.iterdir())
    shutil.rmtree(out)
    print(
        f"{cpu_model()}: {kept / 2**30:.2f} GiB kept; without a cache {median['without']:.2f} s, with an empty one "
        f"{median['first']:.2f} s, again {median['again']:.2f} s"
    )
    line = {name + "_s": round(value, 3) for name, value in median.items()}
    line["again_of_without"] = round(median["again"] / median["without"], 3)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
