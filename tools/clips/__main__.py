"""Looks at clips: `python -m tools.clips --output sheet.png` draws one row a clip, six moments each."""

import argparse
import random

import cv2
import numpy as np

from tools.clips import caption, render, sample_story
from tools.clips import vocabulary as V


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="picture to write")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--level", type=int, default=1, choices=range(len(V.LEVELS)), help="0: few and simple")
    args = parser.parse_args()
    rows = []
    for i in range(args.clips):
        rng = random.Random(args.seed + i)
        story = sample_story(rng, switch_block=4 if i % 2 else None, level=V.LEVELS[args.level])
        moments = np.linspace(0, args.seconds * V.FPS - 1, 6).astype(int)
        rows.append(np.concatenate([render(story, m, m + 1)[0] for m in moments], 1))
        print(i, caption(story.first, rng), "->", caption(story.last, rng) if story.switch else "")
    cv2.imwrite(args.output, np.concatenate(rows, 0)[..., ::-1])


if __name__ == "__main__":
    main()
