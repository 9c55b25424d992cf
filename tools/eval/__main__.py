"""Evaluates the bundled model on prompts held out of training; prints a table and, last, one line of JSON.

    python -m tools.eval --maker client --server ADDRESS [--quick]

Makers: `client` asks a running server; `drawn` is the control, the same measurement on clips that the clip program draws for
the same prompts; `vae` sends those through the VAE (what it alone loses) and `torch` runs the reference generator.
Shuffled prompts, printed with every table, are the other control: what chance gives.
"""

import argparse
import dataclasses
import json
import os
import tempfile

import numpy as np

from tools.clips import vocabulary as V
from tools.eval import cases, measure, psnr, videos
from tools.eval.table import Table, switch_followed
from tools.eval.work import Work, digest

_CONTROL = 0.98  # what the control has to reach in every part at every second
_LOOKERS = ("measure.py", "scenery.py", "things.py", "silhouettes.npz", "__main__.py", "cases.py")  # what is seen is up to them
_IN_JSON = ("colour", "kind", "direction", "background")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maker", choices=("client", "drawn", "torch", "vae"), default="client")
    parser.add_argument("--model", default="models/longtake-tiny")
    parser.add_argument("--server", default="127.0.0.1:50051", help="for --maker client")
    parser.add_argument("--programs", default="build/release", help="folder of longtake and longtake-module")
    parser.add_argument("--prompts", type=int, default=200, help="videos measured at 1 s and 10 s")
    parser.add_argument("--long", type=int, default=50, help="how many of them are a minute long, measured at 30 s and 60 s too")
    parser.add_argument("--short", type=float, default=11, help="seconds of the videos that are not a minute long")
    parser.add_argument("--switches", type=int, default=50)
    parser.add_argument("--level", type=int, default=V.BUNDLED, choices=(0, 1, 2), help="of the prompts, as in tools/clips")
    parser.add_argument("--series", default="", help="any word: other prompts, as many")
    parser.add_argument("--jobs", type=int, default=3, help="videos of client and drawn that are made and looked at at a time")
    parser.add_argument("--alone", type=int, default=4, help="videos of client made one at a time first: the pace is theirs")
    parser.add_argument("--quick", action="store_true", help="6 prompts, 2 of them a minute long, 2 switches, 1 alone")
    parser.add_argument("--no-psnr", action="store_true", help="leave the VAE's reconstruction out")
    parser.add_argument("--keep", help="folder for MP4s and what was seen in them; what is there is not made again")
    args = parser.parse_args()
    if args.quick:
        args.prompts, args.long, args.switches, args.alone = 6, 2, 2, 1
    if args.maker not in ("client", "drawn"):
        args.jobs = 1
    return args


def _work(args, folder):
    """The maker, with all that its videos depend on and all that is seen in them depends on."""
    clips, here = "tools/clips", os.path.dirname(__file__)
    source = {"drawn": [clips], "vae": [clips, args.model], "torch": [args.model]}.get(args.maker)
    if args.maker == "client":
        maker = videos.ClientMaker(os.path.join(args.programs, "longtake"), args.server)
        source = [args.model, os.path.join(args.programs, "longtake-server")]
    elif args.maker == "torch":
        maker = videos.TorchMaker(args.model)
    else:
        maker = videos.DrawnMaker(args.model if args.maker == "vae" else None)
    looker = [os.path.join(here, name) for name in _LOOKERS]
    return Work(maker, folder, digest(source), digest(looker))


def _look(path, case, block):
    """What is to be known of a video, as plain values: {second: Seen}, border ratio, drift of those longer than a minute."""
    frames, fps = measure.read_video(path)
    watcher = measure.Watcher(frames, fps)
    seen = {str(second): dataclasses.asdict(watcher.look(second)) for second in (1, 10, 30, 60) if second < case.seconds}
    latents = 1 + (len(frames) - 1) // 4
    ratio = measure.border_ratio(frames, block + latents % block, block)
    return {"seen": seen, "ratio": ratio, "drift": measure.drift(frames, fps) if case.seconds > 60 else None}


def _look_at_switch(path, block):
    frames, fps = measure.read_video(path)
    since = cases.followed_from(block, fps)
    return {"seen": dataclasses.asdict(measure.Watcher(frames, fps).look(since + 1.5, since=since))}


def _evaluate(args, work):
    """Makes and looks at everything; prints the table and returns the line."""
    with open(os.path.join(args.model, "longtake.json")) as file:
        block = json.load(file)["block_latent_frames"]
    plain = cases.plain(args.prompts, args.long, args.short, "eval" + args.series, args.level)
    turned = cases.switched(args.switches, "switch" + args.series, args.level)

    def look(path, case):
        return _look_at_switch(path, block) if case.switch else _look(path, case, block)

    alone = args.alone if args.maker == "client" else 0
    noted = work.all(plain + turned, look, args.jobs, alone)
    table = Table(args.level)
    found = [n["found"] for n in noted[: len(plain)]]
    for case, one in zip(plain, found, strict=True):
        for second, seen in one["seen"].items():
            table.add(int(second), measure.Seen(**seen), case.story.first)
    followed = [
        switch_followed(measure.Seen(**n["found"]["seen"]), case.story)
        for case, n in zip(turned, noted[len(plain) :], strict=True)
    ]
    table.show(work.maker.title)
    drifts = [one["drift"] for one in found if one["drift"]]
    if drifts:
        histogram, sharpness = np.mean(drifts, 0)
        print(f"\n60 s against 2 s: colour histograms agree {histogram:.3f}, sharpness {sharpness:.3f}")
    if followed:
        print(f"prompt switch followed within two blocks: {np.mean(followed):.3f} of {len(followed)}")
    if args.maker == "drawn":
        share, part, second = table.worst()
        lowest = min(share, float(np.mean(followed))) if followed else share
        verdict = "holds" if lowest >= _CONTROL else "DOES NOT HOLD"
        print(f"the control {verdict}: worst part {part} at {second} s, {share:.3f}; {_CONTROL} asked")
    shares = table.shares()
    line = {"prompts": len(plain)}
    for part in _IN_JSON:
        line[part] = {str(second): round(row[part], 4) for second, row in shares.items()}
    line["switch"] = round(float(np.mean(followed)), 4) if followed else None
    line["vae_psnr"] = None
    line["border_ratio"] = round(float(np.mean([one["ratio"] for one in found])), 4)
    paces = [n["pace"] for n in noted[:alone]]
    line["realtime"] = round(float(np.median(paces)), 3) if paces else None
    return line


def main():
    args = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        line = _evaluate(args, _work(args, args.keep or temporary))
    if not args.no_psnr:
        runner = os.path.join(args.programs, "longtake-module")
        reconstruction = psnr.psnr(runner, args.model, 2 if args.quick else 8, args.level)
        print("VAE on drawn clips, dB:", {k: round(v, 2) for k, v in reconstruction.items()})
        line["vae_psnr"] = round(min(reconstruction.values()), 2)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
