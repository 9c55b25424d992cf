"""What a viewer sees in a video: object, motion, sky and ground, measured from an MP4 with OpenCV alone.

The thresholds are a viewer's notions of colour, size and speed in a frame of 160 x 256 at 16 frames a second;
silhouettes to compare with come from `calibrate`.
"""

import dataclasses
import itertools
import os
import statistics

import cv2
import numpy as np

_SILHOUETTES = os.path.join(os.path.dirname(__file__), "silhouettes.npz")
SIDE = 40  # silhouettes are compared at this size
_WINDOW = 6.0  # seconds on either side from which the background is taken
_NEAR = 3.0  # seconds on either side within which the object may be looked at
_SURE, _MAYBE = 24.0, 13.0  # differences to the background, in Lab units: an object has some of the first
_SMALLEST = 150  # pixels
_ALIKE = 14  # difference of a channel, of 255, within which two samples of a pixel show the same thing
_GLANCES = 12  # moments by which an object is judged
_NOW, _THERE = 1.0, 0.4  # within so many seconds of the one asked for the object is seen in such a share of frames
_CLEAN = 0.45  # an edge below this is smeared over more than some 5 pixels: such a thing has no kind
_RECOGNISED = 0.6  # a median likeness below this is none


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


def _lab(rgb):
    return cv2.cvtColor(np.ascontiguousarray(rgb, np.uint8).astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def _background(frames):
    """The scene without its object: a pixel's usual colour or, where there is none, of the most frequent ones the one
    nearest to its row's."""
    half = len(frames) // 2
    middle = np.partition(frames, half, 0)[half]
    steady = (cv2.absdiff(frames, np.broadcast_to(middle, frames.shape)).max(-1) < _ALIKE).mean(0) > 0.7
    if steady.all():
        return middle
    row = np.broadcast_to(np.median(middle, 1).astype(np.uint8)[:, None], middle.shape)[~steady]
    samples = frames[:, ~steady]
    votes = np.stack([(cv2.absdiff(samples, np.broadcast_to(s, samples.shape)).max(-1) < _ALIKE).sum(0) for s in samples])
    # A slow and big thing hides a pixel for half of the time, but in several colours: 0.7 leaves the background in the choice.
    far = cv2.absdiff(samples, np.broadcast_to(row, samples.shape)).sum(-1, dtype=np.uint16)
    best = np.where(votes >= 0.7 * votes.max(0), far, np.iinfo(np.uint16).max).argmin(0)
    out = middle.copy()
    out[~steady] = np.take_along_axis(samples, best[None, :, None], 0)[0]
    return out


@dataclasses.dataclass
class _Thing:
    """Something that is not background, in one frame."""

    frame: int
    mask: np.ndarray  # [H, W] of 0 and 1
    box: np.ndarray  # x, y, width, height
    centre: np.ndarray
    edge: float  # 0…1, how much of its difference to the background it has two pixels inside its outline
    whole: bool  # it does not touch the frame's border


def _thing(picture, background_lab, frame):
    """The largest thing in a picture that is not background, or None."""
    sharp = np.linalg.norm(_lab(picture) - background_lab, axis=-1)
    difference = cv2.GaussianBlur(sharp, (0, 0), 0.8)
    mask = (difference > _MAYBE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    # A white thing in fog is little more than its outline: everything inside a closed line belongs to it.
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, outlines, -1, 1, -1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA])
    for i in order[:4]:
        part = labels == i
        if stats[i, cv2.CC_STAT_AREA] >= _SMALLEST and difference[part].max() > _SURE:
            part = part.astype(np.uint8)
            x, y, w, h = box = stats[i, :4]
            whole = x > 1 and y > 1 and x + w < part.shape[1] - 1 and y + h < part.shape[0] - 1
            return _Thing(frame, part, box, centres[i], _edge(part, sharp), whole)
    return None


def _edge(mask, difference):
    outline = (mask - cv2.erode(mask, np.ones((3, 3), np.uint8))) > 0
    near = cv2.dilate(difference * mask, np.ones((5, 5), np.uint8))
    return float(np.median(near[outline]) / np.quantile(difference[mask > 0], 0.9))


def _clearest(things, middle):
    """The glances that show the object best, of these the ones nearest to the frame asked for."""
    whole = [t for t in things if t.whole] or things
    areas = np.array([t.mask.sum() for t in whole], np.float64)
    # What is partly hidden is small; a mask that took in something else is larger than nearly all others.
    usual = np.quantile(areas, 0.85)
    good = [t for t, area in zip(whole, areas, strict=True) if abs(area / usual - 1) < 0.07]
    return sorted(good or whole, key=lambda t: abs(t.frame - middle))[:_GLANCES]


def silhouette(mask):
    """A mask moved to its centre and scaled to a fixed area, float32 [SIDE, SIDE]."""
    rows, columns = np.nonzero(mask)
    scale = SIDE * 0.5 / np.sqrt(len(rows))
    matrix = np.float32([[scale, 0, SIDE / 2 - scale * columns.mean()], [0, scale, SIDE / 2 - scale * rows.mean()]])
    return cv2.warpAffine(mask.astype(np.float32), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def _likeness(a, b):
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def _kind(masks, known):
    """The kind that most glances are most like: (name or None, its median likeness)."""
    glances = {}
    for shape in map(silhouette, masks):
        best = {}
        for name, outline in known:
            best[name] = max(best.get(name, 0.0), _likeness(shape, outline))
        for name, score in best.items():
            glances.setdefault(name, []).append(score)
    score, name = max((float(np.median(scores)), name) for name, scores in glances.items())
    return (name if score > _RECOGNISED else None), score


def _hue_name(pixels):
    """The colour that most pixels of an object have; neutral dark parts do not vote."""
    hsv = cv2.cvtColor(pixels[None].astype(np.uint8), cv2.COLOR_RGB2HSV_FULL)[0].astype(np.float32)
    hue, saturation, value = hsv[:, 0] * 360 / 255, hsv[:, 1] / 255, hsv[:, 2] / 255
    votes = {"white": (saturation < 0.16) & (value > 0.82)}
    coloured = (saturation > 0.33) & (value > 0.35)
    for name, low, high in (
        ("red", -20, 13),
        ("orange", 13, 43),
        ("yellow", 43, 68),
        ("green", 68, 175),
        ("blue", 195, 252),
        ("purple", 252, 304),
        ("pink", 304, 340),
    ):
        inside = ((hue >= low) & (hue < high)) | ((hue - 360 >= low) & (hue - 360 < high))
        votes[name] = coloured & inside
    counts = {k: int(v.sum()) for k, v in votes.items()}
    best = max(counts, key=counts.get)
    return best if counts[best] > 0.2 * len(pixels) else None


def _sky(background):
    """From the upper two thirds of the picture."""
    top = np.median(background[:8].reshape(-1, 3), 0) / 255
    low = np.median(background[70:100].reshape(-1, 3), 0) / 255
    if low.max() < 0.48 and top.max() < 0.4:
        return "night"
    if low[0] > low[2] + 0.08:
        return "sunset"
    spread = max(top.max() - top.min(), low.max() - low.min())
    if spread > 0.2:
        return "day"
    if low.max() < 0.72:
        return "rain"
    return "snowfall" if spread > 0.12 else "fog"


def _ground(background):
    """From the lowest rows."""
    pixel = np.median(background[-12:].reshape(-1, 3), 0)
    hue, saturation, _ = cv2.cvtColor(pixel[None, None].astype(np.uint8), cv2.COLOR_RGB2HSV_FULL)[0, 0].astype(float)
    hue, saturation = hue * 360 / 255, saturation / 255
    if saturation < 0.19:
        return "snow"
    if hue <= 15 or hue >= 262:
        return "city"
    return "desert" if hue < 62 else "meadow" if hue < 168 else "sea"


def _motion(tracks, fps):
    """Velocity in pixels a second from centres [(frame, x, y, whole)] of neighbouring frames, whole objects first."""
    for wanted in (True, False):
        steps = []
        for (f0, x0, y0, whole0), (f1, x1, y1, whole1) in itertools.pairwise(tracks):
            if f1 == f0 + 1 and ((whole0 and whole1) or not wanted) and abs(x1 - x0) < 9 and abs(y1 - y0) < 9:
                steps.append((x1 - x0, y1 - y0))
        if len(steps) >= 6:
            return np.mean(steps, 0) * fps
    return None


class Watcher:
    """Looks at one video. `frames` [T, H, W, 3] uint8 RGB."""

    def __init__(self, frames, fps, silhouettes=_SILHOUETTES):
        self.frames, self.fps = frames, fps
        self.known = None
        if silhouettes:
            with np.load(silhouettes) as data:
                self.known = [(k.split("/")[0], data[k].astype(np.float32) / 255) for k in data.files]

    def _at(self, second, since=0.0, until=1e9):
        """(background, {frame: thing or None} of those looked at near a second, the frame asked for)."""
        last = len(self.frames) - 1
        limits = max(0, round(since * self.fps)), min(last, round(until * self.fps))
        middle = int(np.clip(round(second * self.fps), *limits))

        def window(seconds):
            # As long at the video's ends as in its middle: a slow thing may be half out of sight for seconds.
            reach = round(seconds * self.fps)
            end = min(limits[1], max(limits[0], middle - reach) + 2 * reach)
            return max(limits[0], end - 2 * reach), end

        a, b = window(_WINDOW)
        background = _background(self.frames[a : b + 1 : max(1, (b - a) // 40)])
        lab = _lab(background)
        a, b = window(_NEAR)
        # Pairs of neighbours are enough for the motion.
        looked = [f for f in range(a, b + 1) if f % 4 < 2]
        things = {f: _thing(self.frames[f], lab, f) for f in looked}
        return background, things, middle

    def look(self, second, since=0.0, until=1e9):
        """What is seen around a second; only frames between `since` and `until` (seconds) are looked at."""
        background, things, middle = self._at(second, since, until)
        seen = Seen(sky=_sky(background), ground=_ground(background))
        now = [thing for f, thing in things.items() if abs(f - middle) <= _NOW * self.fps]
        things = [t for t in things.values() if t]
        # A clearer view may come seconds earlier or later, but the object has to be there at the second asked for.
        if sum(t is not None for t in now) < _THERE * len(now):
            return seen
        glances = _clearest(things, middle)
        names = [_hue_name(self.frames[t.frame][cv2.erode(t.mask, np.ones((3, 3), np.uint8)) > 0]) for t in glances]
        seen.colour = statistics.mode(names)
        extent = float(np.median([max(t.box[2:]) / 2 for t in glances]))
        seen.size = ("small", "medium", "big")[int(np.searchsorted((20.5, 28.0), extent))]
        seen.edge = float(np.median([t.edge for t in glances]))
        if self.known:
            seen.kind, seen.likeness = _kind([t.mask for t in glances], self.known)
            if seen.edge < _CLEAN:
                seen.kind = None
        velocity = _motion([(t.frame, *t.centre, t.whole) for t in things], self.fps)
        if velocity is not None:
            dx, dy = velocity
            pace = float(np.hypot(dx, dy))
            if pace > 4:
                across = abs(dx) > abs(dy)
                seen.direction = ("right" if dx > 0 else "left") if across else ("down" if dy > 0 else "up")
                seen.speed = ("slow", "normal", "fast")[int(np.searchsorted((20.0, 38.0), pace))]
        return seen

    def masks(self, second):
        """Whole-object masks near a second, for calibration."""
        return [t.mask for t in self._at(second)[1].values() if t and t.whole]


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
