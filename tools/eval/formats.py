"""Compares what weight formats make of the same prompts and seeds: how far a format's videos are from the first one's, and what
the evaluator sees in each.

    python -m tools.eval.formats FOLDER/bfloat16 FOLDER/float8 ...

Each folder is `--keep` of a run of `python -m tools.eval`, whose output lies in it as `table.txt`.
scripts/eval_formats.sh makes them.
"""

import argparse
import glob
import json
import math
import os

import numpy as np

from tools.eval import measure

_MOMENTS = ((0, 1), (1, 2), (5, 6), (10, 11))  # seconds: from ... to


def psnr(a, b):
    """dB between uint8 pictures."""
    error = np.square(a.astype(np.float32) - b.astype(np.float32)).mean()
    return 10 * math.log10(255**2 / max(float(error), 1e-3))


def by_moment(a, b, fps):
    """{second: dB} of two videos for the moments that both have."""
    frames, out = min(len(a), len(b)), {}
    for begin, end in _MOMENTS:
        part = slice(round(begin * fps), round(end * fps))
        if part.stop <= frames:
            out[begin] = psnr(a[part], b[part])
    return out


def compare(base, other):
    """{moment: (median, lowest) dB} over the videos that both folders hold, and {moment: dB} of each folder's videos among
    themselves, one against the next: what two unrelated videos have in common."""
    names = [os.path.basename(p) for p in sorted(glob.glob(os.path.join(base, "*.mp4")))]
    names = [n for n in names if not n.endswith(".part.mp4") and os.path.exists(os.path.join(other, n))]
    found, unrelated, before = {}, {}, None
    for name in names:
        a, fps = measure.read_video(os.path.join(base, name))
        b, _ = measure.read_video(os.path.join(other, name))
        for moment, value in by_moment(a, b, fps).items():
            found.setdefault(moment, []).append(value)
        if before is not None:
            for moment, value in by_moment(before, a, fps).items():
                unrelated.setdefault(moment, []).append(value)
        before = a
    if not found:
        raise SystemExit(f"{base}, {other}: no video of the same name")
    return (
        {m: (float(np.median(v)), min(v)) for m, v in found.items()},
        {m: float(np.median(v)) for m, v in unrelated.items()},
        len(names),
    )


def _shares(folder):
    with open(os.path.join(folder, "table.txt")) as file:
        return json.loads(file.read().strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="the first is what the others are compared with")
    folders = parser.parse_args().folders
    base, line = folders[0], {}
    shares = {os.path.basename(f): _shares(f) for f in folders}
    print(f"\nPSNR against {os.path.basename(base)}, same prompts and seeds, dB: median (lowest)")
    for folder in folders[1:]:
        found, unrelated, count = compare(base, folder)
        row = "".join(f"   at {m:2d} s {v[0]:5.1f} ({v[1]:4.1f})" for m, v in found.items())
        print(f"  {os.path.basename(folder):12s}{row}   {count} videos")
        line[os.path.basename(folder)] = {"psnr": {str(m): round(v[0], 2) for m, v in found.items()}}
    print(f"  {'unrelated':12s}" + "".join(f"   at {m:2d} s {v:5.1f}       " for m, v in unrelated.items()))

    parts = [k for k, v in shares[os.path.basename(base)].items() if isinstance(v, dict)]
    print("\nShares seen as asked" + "".join(f"{k:>12s}" for k in parts) + "      switch")
    for name, share in shares.items():
        for second in share[parts[0]]:
            numbers = "".join(f"{share[k][second]:12.3f}" for k in parts)
            print(f"  {name:11s}{second:>4s} s " + numbers + (f"{share['switch']:12.3f}" if share["switch"] is not None else ""))
        line.setdefault(name, {})["shares"] = {k: share[k] for k in parts} | {"switch": share["switch"]}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
