"""Line charts as PNG, with OpenCV alone."""

import itertools
import math

import cv2
import numpy as np

COLOURS = [(180, 110, 30), (40, 120, 220), (60, 160, 60), (150, 60, 150)]  # blue, green, red
INK = (60, 60, 60)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def text(image, words, at, size=0.45, colour=INK):
    cv2.putText(image, words, (int(at[0]), int(at[1])), FONT, size, colour, 1, cv2.LINE_AA)


def ticks(largest):
    """About five round numbers from 0 to `largest`."""
    if largest <= 0:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(largest))
    while largest / step > 6:
        step *= 2
    while largest / step < 3:
        step /= 2
    return [step * i for i in range(int(largest / step) + 2)]


def panel(title, x_name, series, width=900, height=320, log2_x=False):
    """An image. `series`: (name, xs, ys) each; y from 0."""
    image = np.full((height, width, 3), 255, np.uint8)
    left, right, top, bottom = 70, width - 20, 40, height - 45
    xs = [x for _, each, _ in series for x in each]
    ys = [y for _, _, each in series for y in each]
    scale = math.log2 if log2_x else float
    low, high = (scale(min(xs)), scale(max(xs))) if xs else (0.0, 1.0)
    y_ticks = ticks(max(ys, default=1.0))
    span = high - low or 1.0

    def place(x, y):
        across = left + (scale(x) - low) / span * (right - left)
        return int(across), int(bottom - y / y_ticks[-1] * (bottom - top))

    for y in y_ticks:
        level = place(min(xs, default=1), y)[1]
        cv2.line(image, (left, level), (right, level), (225, 225, 225), 1)
        text(image, f"{y:g}", (8, level + 4))
    x_ticks = sorted(set(xs)) if log2_x else [t for t in ticks(high) if low <= t <= high]
    for x in x_ticks:
        across = place(x, 0)[0]
        cv2.line(image, (across, bottom), (across, bottom + 5), INK, 1)
        text(image, f"{x:g}", (across - 10, bottom + 20))
    cv2.line(image, (left, bottom), (right, bottom), INK, 1)
    text(image, title, (left, 18), 0.5)
    text(image, x_name, (right - 9 * len(x_name), height - 8))
    across = left
    for i, (name, each_x, each_y) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        points = [place(x, y) for x, y in zip(each_x, each_y, strict=True)]
        for begin, end in itertools.pairwise(points):
            cv2.line(image, begin, end, colour, 2, cv2.LINE_AA)
        if len(points) < 30:
            for point in points:
                cv2.circle(image, point, 4, colour, -1, cv2.LINE_AA)
        text(image, name, (across, 34), 0.45, colour)
        across += 30 + 9 * len(name)
    return image


def save(panels, path):
    cv2.imwrite(str(path), np.vstack(panels))


def passes(result, path):
    """The curve of longtake-bench-passes."""
    counts = sorted(int(n) for n in result["passes_per_s"])
    rates = [result["passes_per_s"][str(n)] for n in counts]
    alone = [result["one_at_a_time"]] * len(counts)
    series = [("batched", counts, rates), ("one at a time", counts, alone)]
    save([panel("transformer passes a second", "sessions in a batch", series, log2_x=True)], path)


def loadtest(report, path):
    """What `longtake loadtest --json` wrote: the test's seconds, and how long viewers waited for a picture."""
    timeline = report["timeline"]
    seconds = list(range(len(timeline["video_s"])))
    first = sorted(v["first_chunk"] for v in report["each"] if v["live"] and "first_chunk" in v)
    share = [(i + 1) / len(first) for i in range(len(first))]
    panels = [
        panel(
            f"continuity {report['continuity']:.4f} of {report['judged']} viewers",
            "s",
            [
                ("watching", seconds, timeline["watching"]),
                ("seconds of video", seconds, timeline["video_s"]),
                ("stalls", seconds, timeline["stalls"]),
                ("refused", seconds, timeline["refused"]),
            ],
        )
    ]
    if first:
        panels.append(panel("share of viewers with a picture", "s after the request", [("", first, share)]))
    save(panels, path)
