"""What a viewer sees in a video: object, motion, sky and ground, measured from an MP4 with OpenCV alone.

The thresholds are a viewer's notions of colour, size and speed in a frame of 160 x 256 at 16 frames a second;
silhouettes to compare with come from `calibrate`.
"""

import dataclasses
import itertools
import os

import cv2
import numpy as np

_SILHOUETTES = os.path.join(os.path.dirname(__file__), "silhouettes.npz")
SIDE = 40  # silhouettes are compared at this size
_WINDOW = 6.0  # seconds on either side from which the background is taken
_NEAR = 3.0  # seconds on either side within which the object may be looked at
_SURE, _MAYBE = 24.0, 13.0  # differences to the background, in Lab units: an object has some of the first
_SMALLEST = 150  # pixels


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
    likeness: float = 0.0


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
    """The scene without its object: a pixel's usual colour, or, where there is none, its sample nearest to the row's."""
    half = len(frames) // 2
    middle = np.partition(frames, half, 0)[half]
    steady = (cv2.absdiff(frames, np.broadcast_to(middle, frames.shape)).max(-1) < 14).mean(0)
    row = np.median(middle, 1).astype(np.uint8)[None, :, None]
    nearest = cv2.absdiff(frames, np.broadcast_to(row, frames.shape)).sum(-1, dtype=np.uint16).argmin(0)
    fallback = np.take_along_axis(frames, nearest[None, ..., None], 0)[0]
    return np.where(steady[..., None] > 0.7, middle, fallback)


def _objects(frame, background_lab):
    """The largest thing that is not background: (mask, bounding box, centre) or None."""
    difference = np.linalg.norm(_lab(frame) - background_lab, axis=-1)
    difference = cv2.GaussianBlur(difference, (0, 0), 0.8)
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
            return part.astype(np.uint8), stats[i, :4], centres[i]
    return None


def _touches(box, shape):
    x, y, w, h = box
    return x <= 1 or y <= 1 or x + w >= shape[1] - 1 or y + h >= shape[0] - 1


def silhouette(mask):
    """A mask moved to its centre and scaled to a fixed area, float32 [SIDE, SIDE]."""
    rows, columns = np.nonzero(mask)
    scale = SIDE * 0.5 / np.sqrt(len(rows))
    matrix = np.float32([[scale, 0, SIDE / 2 - scale * columns.mean()], [0, scale, SIDE / 2 - scale * rows.mean()]])
    return cv2.warpAffine(mask.astype(np.float32), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def _likeness(a, b):
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def _kind(mask, known):
    shape = silhouette(mask)
    scores = [(_likeness(shape, s), name) for name, s in known]
    score, name = max(scores)
    return (name if score > 0.6 else None), score


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
        self._found = {}

    def _at(self, second, since=0.0, until=1e9):
        """Objects in the frames near a second: background and [(frame, mask, box, centre)]."""
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
        found = []
        for f in range(a, b + 1):
            if f % 4 > 1:  # pairs of neighbours are enough for the motion
                continue
            thing = _objects(self.frames[f], lab)
            if thing:
                found.append((f, *thing))
        return background, found, middle

    def look(self, second, since=0.0, until=1e9):
        """What is seen around a second; only frames between `since` and `until` (seconds) are looked at."""
        background, found, middle = self._at(second, since, until)
        seen = Seen(sky=_sky(background), ground=_ground(background))
        if not found:
            return seen
        whole = [f for f in found if not _touches(f[2], background.shape)] or found
        areas = np.array([f[1].sum() for f in whole], np.float64)
        # Partly hidden objects are small: look at the moment nearest to the one asked for among the nearly largest.
        good = [f for f, area in zip(whole, areas, strict=True) if area > 0.985 * areas.max()]
        frame, mask, box, _ = min(good, key=lambda f: abs(f[0] - middle))
        seen.colour = _hue_name(self.frames[frame][cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0])
        seen.size = ("small", "medium", "big")[int(np.searchsorted((20.5, 28.0), max(box[2:]) / 2))]
        if self.known:
            seen.kind, seen.likeness = _kind(mask, self.known)
        tracks = [(f, c[0], c[1], not _touches(b, background.shape)) for f, _, b, c in found]
        velocity = _motion(tracks, self.fps)
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
        background, found, _ = self._at(second)
        return [mask for _, mask, box, _ in found if not _touches(box, background.shape)]


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
