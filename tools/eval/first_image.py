"""How well videos keep the picture that they begin with, through a server whose model takes first images.

    python -m tools.eval.first_image --server 127.0.0.1:50051 [--programs build/release] [--count 24] [--keep DIR]

Pictures are frames of clips that the clip program draws for prompts held out of training, from where the object is in sight.
Each is given with the prompt that describes it ("same"), and with one whose object has another kind and colour ("other"). Of
the videos: whether the object at 1 s and at 10 s has the picture's kind and colour, moves as the prompt says, and whether sky
and ground are the picture's.
"""

import argparse
import dataclasses
import os
import random
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from tools.clips import caption, render, sample_story
from tools.clips import vocabulary as V
from tools.eval import measure

_FPS, _SECONDS, _MOMENTS = 16, 11, (1.0, 10.0)
_PARTS = ("kind", "colour", "kind and colour", "direction", "background")


def _picture(story):
    """The clip's frame at which the object is seen best, and what is seen around it; None where it is hardly seen."""
    frames = render(story, 0, 4 * _FPS + 1)
    seen = measure.Watcher(frames, _FPS).look(2.0)
    scene = story.first
    if (seen.kind, seen.colour) != (scene.kind, scene.colour):
        return None
    return frames[2 * _FPS]


def _cases(count):
    """(picture, scene) of `count` stories whose pictures show what they say."""
    found, number = [], 0
    while len(found) < count:
        story = sample_story(random.Random(f"first image/{number}"), level=V.LEVELS[V.BUNDLED], held=True)
        number += 1
        picture = _picture(story)
        if picture is not None:
            found.append((picture, story.first))
    return found


def _other(scenes, number):
    """The scene's prompt with the object of the first scene behind it that shares neither kind nor colour."""
    scene = scenes[number]
    for step in range(1, len(scenes)):
        other = scenes[(number + step) % len(scenes)]
        if other.kind != scene.kind and other.colour != scene.colour:
            return dataclasses.replace(scene, kind=other.kind, colour=other.colour)
    raise ValueError("too few scenes")


def _look(arguments, folder, name, picture, prompt, seed):
    """What is seen at each of _MOMENTS of the video that begins with the picture."""
    path = os.path.join(folder, name)
    cv2.imwrite(path + ".png", picture[..., ::-1])
    command = [os.path.join(arguments.programs, "longtake"), "generate", prompt, "--server", arguments.server]
    command += ["--image", path + ".png", "--seconds", str(_SECONDS), "--seed", str(seed), "--offline", "--quiet"]
    subprocess.run([*command, "--output", path + ".mp4"], check=True)
    watcher = measure.Watcher(*measure.read_video(path + ".mp4"))
    return [watcher.look(moment) for moment in _MOMENTS]


def _rights(seen, scene):
    """One bool for each of _PARTS."""
    kind, colour = seen.kind == scene.kind, seen.colour == scene.colour
    background = seen.sky == scene.sky and seen.ground == scene.ground
    return kind, colour, kind and colour, seen.direction == scene.direction, background


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051")
    parser.add_argument("--programs", default="build/release", help="folder of longtake")
    parser.add_argument("--count", type=int, default=24, help="pictures")
    parser.add_argument("--keep", help="folder for pictures and MP4s")
    arguments = parser.parse_args()
    cases = _cases(arguments.count)
    scenes = [scene for _, scene in cases]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        folder = arguments.keep or temporary
        os.makedirs(folder, exist_ok=True)
        print(f"{'prompt':10s}{'at':>6s}" + "".join(f"{part:>18s}" for part in _PARTS) + "    videos")
        for form in ("same", "other"):
            told = scenes if form == "same" else [_other(scenes, i) for i in range(len(scenes))]
            jobs = [
                pool.submit(_look, arguments, folder, f"{form}_{i:03d}", picture, caption(prompt), i)
                for i, ((picture, _), prompt) in enumerate(zip(cases, told, strict=True))
            ]
            seen = [job.result() for job in jobs]
            for n, moment in enumerate(_MOMENTS):
                shares = np.mean([_rights(looks[n], scene) for looks, scene in zip(seen, scenes, strict=True)], 0)
                row = "".join(f"{share:18.2f}" for share in shares)
                print(f"{form:10s}{moment:4.0f} s{row}{len(seen):10d}", flush=True)


if __name__ == "__main__":
    main()
