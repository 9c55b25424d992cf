"""Collects the silhouettes that `measure` compares with, from drawn clips that no evaluation uses.

python -m tools.eval.calibrate
"""

import os
import random

import numpy as np

from tools.clips import Scene, Story, render
from tools.clips import vocabulary as V
from tools.eval import measure, things


def main():
    """Writes tools/eval/silhouettes.npz: one mean silhouette a kind and direction it faces."""
    rng = random.Random(99)
    out = {}
    for kind in V.KINDS:
        for direction in V.DIRECTIONS:
            shapes = []
            for size in V.SIZES:
                scene = Scene(kind, "red", size, direction, "normal", "day", "snow")
                story = Story(((0, scene),), 128.0, 62.0, rng.randrange(1000), 0.0)
                watcher = measure.Watcher(render(story, 0, 49), 16.0, silhouettes=None)
                masks = watcher.masks(0.7)
                largest = max(m.sum() for m in masks)
                shapes += [things.silhouette(m) for m in masks if m.sum() > 0.93 * largest]
            out[f"{kind}/{direction}"] = np.round(255 * np.mean(shapes, 0)).astype(np.uint8)
    np.savez_compressed(os.path.join(os.path.dirname(__file__), "silhouettes.npz"), **out)
    print(len(out), "silhouettes")


if __name__ == "__main__":
    main()
