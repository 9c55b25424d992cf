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
import random
import tempfile

import numpy as np

from tools.clips import caption, sample_story
from tools.clips.scene import block_start_frame
from tools.eval import measure, psnr, videos

_PARTS = ("colour", "kind", "direction", "background", "size", "speed")
_SWITCH_BLOCK = 3


def _right(seen, scene):
    """Which parts of a scene were seen as asked."""
    out = {k: getattr(seen, k) == getattr(scene, k) for k in ("colour", "kind", "direction", "size", "speed")}
    out["background"] = seen.sky == scene.sky and seen.ground == scene.ground
    return out


class Table:
    """Shares of right answers by part and second, for the prompts and for shuffled ones."""

    def __init__(self):
        self.seen = {}  # second → [(Seen, scene)]

    def add(self, second, seen, scene):
        self.seen.setdefault(second, []).append((seen, scene))

    def shares(self, shuffled=False):
        out = {}
        for second, pairs in sorted(self.seen.items()):
            scenes = [s for _, s in pairs]
            if shuffled:
                order = random.Random(1).sample(range(len(scenes)), len(scenes))
                scenes = [scenes[i] for i in order]
            rights = [_right(seen, scene) for (seen, _), scene in zip(pairs, scenes, strict=True)]
            out[second] = {k: float(np.mean([r[k] for r in rights])) for k in _PARTS}
        return out

    def show(self, title):
        for name, shuffled in ((title, False), ("shuffled prompts (chance)", True)):
            print(f"\n{name:28s}" + "".join(f"{k:>12s}" for k in _PARTS) + "       videos")
            for second, row in self.shares(shuffled).items():
                print(
                    f"  at {second:4g} s{'':18s}" + "".join(f"{row[k]:12.3f}" for k in _PARTS) + f"{len(self.seen[second]):13d}"
                )


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
    parser.add_argument("--quick", action="store_true", help="6 prompts, 2 of them a minute long, 2 switches")
    parser.add_argument("--no-psnr", action="store_true", help="leave the VAE's reconstruction out")
    parser.add_argument("--keep", help="folder for MP4s and what was seen in them; what is there is not made again")
    return parser.parse_args()


def _videos(args):
    """[(story, seconds)], the long ones first, and [(story with a switch)]."""
    plain = [sample_story(random.Random(f"eval/{i}"), held=True) for i in range(args.prompts)]
    turned = [sample_story(random.Random(f"switch/{i}"), switch_block=_SWITCH_BLOCK, held=True) for i in range(args.switches)]
    return [(s, 61 if i < args.long else args.short) for i, s in enumerate(plain)], turned


def _prompt(scene, seed):
    """Every attribute is named, in one of the training's wordings, so that it can be asked for."""
    return caption(scene) if seed % 2 == 0 else caption(scene).replace(" under a blue sky", " on a sunny day")


def _maker(args, plain, turned):
    if args.maker == "torch":
        return videos.TorchMaker(args.model)
    if args.maker == "client":
        return videos.ClientMaker(os.path.join(args.programs, "longtake"), args.server)
    stories = {(_prompt(s.first, i), None): s for i, (s, _) in enumerate(plain)}
    stories |= {(_prompt(s.first, i), _prompt(s.last, i)): s for i, s in enumerate(turned)}
    return videos.DrawnMaker(stories, args.model if args.maker == "vae" else None)


def _switch_followed(seen, story):
    """The attribute that the second prompt changed is seen as asked, and the kind is still there."""
    first, second = dataclasses.asdict(story.first), dataclasses.asdict(story.last)
    changed = [k for k in first if first[k] != second[k]]
    return all(getattr(seen, k) == second[k] for k in changed)


def _look(path, seconds, block):
    """What is to be known of a video, as plain values: {second: Seen}, border ratio, drift of those longer than a minute."""
    frames, fps = measure.read_video(path)
    watcher = measure.Watcher(frames, fps)
    seen = {second: dataclasses.asdict(watcher.look(second)) for second in (1, 10, 30, 60) if second < seconds}
    latents = 1 + (len(frames) - 1) // 4
    ratio = measure.border_ratio(frames, block + latents % block, block)
    return {"seen": seen, "ratio": ratio, "drift": measure.drift(frames, fps) if seconds > 60 else None}


def _look_at_switch(path, block):
    frames, fps = measure.read_video(path)
    since = block_start_frame(_SWITCH_BLOCK + 1, block + 1, block) / fps  # one block to turn in
    return {"seen": dataclasses.asdict(measure.Watcher(frames, fps).look(since + 1.5, since=since))}


def main():
    args = _arguments()
    if args.quick:
        args.prompts, args.long, args.switches = 6, 2, 2
    plain, turned = _videos(args)
    maker = _maker(args, plain, turned)
    with open(os.path.join(args.model, "longtake.json")) as file:
        block = json.load(file)["block_latent_frames"]
    table, ratios, paces, drifts, switched = Table(), [], [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or temporary
        os.makedirs(folder, exist_ok=True)
        for i, (story, seconds) in enumerate(plain):
            path = os.path.join(folder, f"{args.maker}_{i:03d}_{seconds:g}.mp4")
            found = videos.once(
                path,
                lambda part, story=story, i=i, seconds=seconds: maker.make(part, _prompt(story.first, i), seconds, seed=i),
                lambda path, seconds=seconds: _look(path, seconds, block),
            )
            paces += [found["pace"]] if found["pace"] else []
            ratios.append(found["ratio"])
            drifts += [found["drift"]] if found["drift"] else []
            for second, seen in found["seen"].items():
                table.add(int(second), measure.Seen(**seen), story.first)
        for i, story in enumerate(turned):
            path = os.path.join(folder, f"{args.maker}_switch_{i:03d}.mp4")
            change = (_SWITCH_BLOCK, _prompt(story.last, i))
            found = videos.once(
                path,
                lambda part, story=story, i=i, change=change: maker.make(
                    part, _prompt(story.first, i), 9, seed=1000 + i, switch=change
                ),
                lambda path: _look_at_switch(path, block),
            )
            switched.append(_switch_followed(measure.Seen(**found["seen"]), story))
    table.show({"client": "server", "drawn": "control: drawn clips", "vae": "drawn, through the VAE"}.get(args.maker, args.maker))
    if drifts:
        histogram, sharpness = np.mean(drifts, 0)
        print(f"\n60 s against 2 s: colour histograms agree {histogram:.3f}, sharpness {sharpness:.3f}")
    reconstruction = None
    if not args.no_psnr:
        runner = os.path.join(args.programs, "longtake-module")
        reconstruction = psnr.psnr(runner, args.model, clips=2 if args.quick else 8)
        print("VAE on drawn clips, dB:", {k: round(v, 2) for k, v in reconstruction.items()})
    shares = table.shares()
    line = {"prompts": len(plain)}
    for part in _PARTS:
        line[part] = {str(second): round(row[part], 4) for second, row in shares.items()}
    line["switch"] = round(float(np.mean(switched)), 4) if switched else None
    line["vae_psnr"] = round(min(reconstruction.values()), 2) if reconstruction else None
    line["border_ratio"] = round(float(np.mean(ratios)), 4)
    line["realtime"] = round(float(np.median(paces)), 3) if paces else None
    print(json.dumps(line))


if __name__ == "__main__":
    main()
