"""What a viewer sees in a video: object, motion, sky and ground, measured from an MP4 with OpenCV alone.

The thresholds, here and in `scenery` and `things`, are a viewer's notions of colour, size and speed in a frame of 160 x 256
at 16 frames a second; silhouettes to compare with come from `calibrate`.
"""

import collections
import dataclasses
import itertools
import os
import statistics

import cv2
import numpy as np

from tools.eval import scenery, things

_SILHOUETTES = os.path.join(os.path.dirname(__file__), "silhouettes.npz")
_WINDOW = 6.0  # seconds on either side from which the background is taken
_NEAR = 3.0  # seconds on either side within which the object may be looked at
_NOW, _THERE = 1.0, 0.4  # within so many seconds of the one asked for the object is seen in such a share of frames
_CLEAN = 0.45  # an edge below this is smeared over more than some 5 pixels: such a thing has no kind
_OBJECT = 440  # pixels; a big balloon's basket, seen alone at the frame's border, has some 350
_TOGETHER = 6  # frames that show two things of different colours: there are two of them


@dataclasses.dataclass
class Seen:
    """What was seen around one moment; None where nothing could be told."""

    colour: str | None = None
    kind: str | None = None
    size: str | None = None
    direction: str | None = None
    speed: str | None = None
    sky: str | None = None
    ground: str | None = None
    camera: str = "still"  # or where it goes: left, right
    guest: str | None = None  # colour and kind of a second thing
    likeness: float = 0.0  # of its outline to the kind's, 0…1
    edge: float = 0.0  # how clean its edges are, 0…1


def read_video(path):
    """(frames [T, H, W, 3] uint8 RGB, frames a second)."""
    capture = cv2.VideoCapture(path)
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        good, frame = capture.read()
        if not good:
            break
        frames.append(frame[..., ::-1])
    capture.release()
    if not frames:
        raise ValueError(f"{path}: no frames")
    return np.stack(frames), fps


def _groups(found):
    """Things of one moment and its surroundings [[thing, ...] a frame], by object: the one that is seen most comes first.

    There are two where things of different colours are in sight together; the colour tells one from the other. An object that
    is seen in two parts, at both ends of the frame, is the larger of them.
    """
    together = collections.Counter()
    large = [[t for t in frame if t.mask.sum() >= _OBJECT] for frame in found]
    for frame in large:
        together.update(itertools.combinations(sorted({t.colour for t in frame} - {None}), 2))
    colours, count = (together.most_common(1) or [((), 0)])[0]
    if count < _TOGETHER:
        return [[frame[0] for frame in found if frame]]
    # Where only one is found the other is out of sight, or they cover each other.
    apart = [frame for frame in large if {t.colour for t in frame} >= set(colours)]
    seen = {c: sum(t.colour == c for frame in large for t in frame) for c in colours}
    return [[next(t for t in frame if t.colour == c) for frame in apart] for c in sorted(colours, key=seen.get, reverse=True)]


class Watcher:
    """Looks at one video. `frames` [T, H, W, 3] uint8 RGB."""

    def __init__(self, frames, fps, silhouettes=_SILHOUETTES):
        self.frames, self.fps = frames, fps
        self.known = None
        if silhouettes:
            with np.load(silhouettes) as data:
                self.known = [(k.split("/")[0], data[k].astype(np.float32) / 255) for k in data.files]

    def _at(self, second, since=0.0, until=1e9):
        """(scenery, {frame: things} of the frames looked at near a second, the frame asked for)."""
        last = len(self.frames) - 1
        limits = max(0, round(since * self.fps)), min(last, round(until * self.fps))
        middle = int(np.clip(round(second * self.fps), *limits))

        def window(seconds):
            # As long at the video's ends as in its middle: a slow thing may be half out of sight for seconds.
            reach = round(seconds * self.fps)
            end = min(limits[1], max(limits[0], middle - reach) + 2 * reach)
            return max(limits[0], end - 2 * reach), end

        a, b = window(_WINDOW)
        numbers = range(a, b + 1, max(1, -(-(b - a) // 40)))
        scene = scenery.Scenery(self.frames[numbers.start : numbers.stop : numbers.step], numbers, self.fps)
        a, b = window(_NEAR)
        # Pairs of neighbours are enough for the motion.
        looked = [f for f in range(a, b + 1) if f % 4 < 2]
        still = None if scene.pace else scenery.lab(scene.behind(middle))
        found = {}
        for f in looked:
            behind = scenery.lab(scene.behind(f)) if still is None else still
            found[f] = things.find(self.frames[f], behind, f)
        return scene, found, middle

    def look(self, second, since=0.0, until=1e9):
        """What is seen around a second; only frames between `since` and `until` (seconds) are looked at."""
        scene, found, middle = self._at(second, since, until)
        behind = scene.behind(middle)
        seen = Seen(sky=scenery.sky_of(behind), ground=scenery.ground_of(behind))
        if scene.pace:
            seen.camera = "right" if scene.pace > 0 else "left"
        now = [frame for f, frame in found.items() if abs(f - middle) <= _NOW * self.fps]
        # A clearer view may come seconds earlier or later, but the object has to be there at the second asked for.
        if sum(bool(frame) for frame in now) < _THERE * len(now):
            return seen
        first, *others = _groups(list(found.values()))
        glances = things.clearest(first, middle)
        seen.colour = statistics.mode(t.colour for t in glances)
        extent = float(np.median([max(t.box[2:]) / 2 for t in glances]))
        seen.size = ("small", "medium", "big")[int(np.searchsorted((23.0, 31.5), extent))]
        seen.edge = float(np.median([t.edge for t in glances]))
        seen.kind, seen.likeness = self._kind(glances)
        for other in others:
            kind, _ = self._kind(things.clearest(other, middle))
            seen.guest = f"{other[0].colour} {kind}" if kind else None
        velocity = things.motion(first, self.fps)
        if velocity is not None:
            dx, dy = velocity
            pace = float(np.hypot(dx, dy))
            if pace > 4:
                across = abs(dx) > abs(dy)
                seen.direction = ("right" if dx > 0 else "left") if across else ("down" if dy > 0 else "up")
                seen.speed = ("slow", "normal", "fast")[int(np.searchsorted((20.0, 38.0), pace))]
        return seen

    def _kind(self, glances):
        if not self.known:
            return None, 0.0
        kind, likeness = things.kind_of([t.mask for t in glances], self.known)
        return (kind if np.median([t.edge for t in glances]) >= _CLEAN else None), likeness

    def masks(self, second):
        """Whole-object masks near a second, for calibration."""
        return [frame[0].mask for frame in self._at(second)[1].values() if frame and frame[0].whole]


def drift(frames, fps, early=2.0, late=60.0):
    """(likeness of the colour histograms 0…1, sharpness late / early)."""
    picked = [frames[min(len(frames) - 1, round(s * fps))] for s in (early, late)]
    histograms = []
    for p in picked:
        h = cv2.calcHist([cv2.cvtColor(p, cv2.COLOR_RGB2HSV)], [0, 1, 2], None, [12, 6, 6], [0, 180, 0, 256, 0, 256])
        histograms.append(cv2.GaussianBlur(h.reshape(12, 36) / h.sum(), (0, 0), 0.6))
    sharp = [cv2.Laplacian(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var() for p in picked]
    return float(np.minimum(*histograms).sum() / max(h.sum() for h in histograms)), float(sharp[1] / max(sharp[0], 1e-6))


def border_ratio(frames, first_block_latents, block_latents):
    """Mean difference of neighbouring frames across block borders over that inside blocks; 1 means no flicker."""
    starts = set(range(4 * first_block_latents - 3, len(frames), 4 * block_latents))
    step = [float(np.abs(frames[i].astype(np.int16) - frames[i - 1]).mean()) for i in range(1, len(frames))]
    across = [d for i, d in enumerate(step, 1) if i in starts]
    inside = [d for i, d in enumerate(step, 1) if i not in starts]
    return float(np.mean(across) / max(np.mean(inside), 1e-6)) if across else 1.0
