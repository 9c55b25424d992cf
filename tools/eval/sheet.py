"""Contact sheet of MP4 files: a row a video, a column a moment.

python -m tools.eval.sheet sheet.png out/keep/*.mp4 --seconds 1 2 10 30 60
"""

import argparse

import cv2
import numpy as np

from tools.eval import measure


def row(path, seconds):
    """The frames of a video at those seconds, side by side [H, n W, 3]; its last one where it ends earlier."""
    frames, fps = measure.read_video(path)
    return np.concatenate([frames[min(len(frames) - 1, round(s * fps))] for s in seconds], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help=".png")
    parser.add_argument("videos", nargs="+", help="MP4 files of one size")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 2, 10, 30, 60])
    args = parser.parse_args()
    sheet = np.concatenate([row(path, args.seconds) for path in args.videos])
    if not cv2.imwrite(args.output, sheet[..., ::-1]):
        raise SystemExit(f"{args.output}: could not be written")


if __name__ == "__main__":
    main()
