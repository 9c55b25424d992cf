"""The things in front of the scenery: found by their difference to it, and named by outline and colour."""

import dataclasses
import itertools

import cv2
import numpy as np

from tools.eval.scenery import lab

SIDE = 40  # silhouettes are compared at this size
_SURE, _MAYBE = 24.0, 13.0  # differences to the background, in Lab units: an object has some of the first
_SMALLEST = 150  # pixels
_MOST = 3  # things in a frame
_GLANCES = 12  # moments by which an object is judged
_RECOGNISED = 0.6  # a median likeness below this is none


@dataclasses.dataclass
class Thing:
    """Something that is not background, in one frame."""

    frame: int
    mask: np.ndarray  # [H, W] of 0 and 1
    box: np.ndarray  # x, y, width, height
    centre: np.ndarray
    colour: str | None
    edge: float  # 0…1, how much of its difference to the background it has two pixels inside its outline
    whole: bool  # it does not touch the frame's border


def find(picture, background_lab, frame):
    """The things in a picture that are not background, the largest first."""
    sharp = np.linalg.norm(lab(picture) - background_lab, axis=-1)
    difference = cv2.GaussianBlur(sharp, (0, 0), 0.8)
    mask = (difference > _MAYBE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    # A white thing in fog is little more than its outline: everything inside a closed line belongs to it.
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, outlines, -1, 1, -1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA])
    out = []
    for i in order[: _MOST + 1]:
        part = labels == i
        if stats[i, cv2.CC_STAT_AREA] >= _SMALLEST and difference[part].max() > _SURE:
            part = part.astype(np.uint8)
            x, y, w, h = box = stats[i, :4]
            whole = bool(x > 1 and y > 1 and x + w < part.shape[1] - 1 and y + h < part.shape[0] - 1)
            colour = hue_name(picture[cv2.erode(part, np.ones((3, 3), np.uint8)) > 0])
            out.append(Thing(frame, part, box, centres[i], colour, _edge(part, sharp), whole))
    return out[:_MOST]


def _edge(mask, difference):
    outline = (mask - cv2.erode(mask, np.ones((3, 3), np.uint8))) > 0
    if not outline.any():  # it fills the frame
        return 0.0
    near = cv2.dilate(difference * mask, np.ones((5, 5), np.uint8))
    return float(np.median(near[outline]) / np.quantile(difference[mask > 0], 0.9))


def clearest(things, middle):
    """The glances that show the object best, of these the ones nearest to the frame asked for."""
    whole = [t for t in things if t.whole] or things
    areas = np.array([t.mask.sum() for t in whole], np.float64)
    # What is partly hidden is small; a mask that took in something else is larger than nearly all others.
    usual = np.quantile(areas, 0.85)
    good = [t for t, area in zip(whole, areas, strict=True) if abs(area / usual - 1) < 0.07]
    return sorted(good or whole, key=lambda t: abs(t.frame - middle))[:_GLANCES]


def motion(things, fps):
    """Velocity (x, y) in pixels a second from neighbouring frames, those that show all of the thing first; None: too few."""
    for wanted in (True, False):
        steps = []
        for a, b in itertools.pairwise(things):
            step = b.centre - a.centre
            if b.frame == a.frame + 1 and ((a.whole and b.whole) or not wanted) and np.abs(step).max() < 9:
                steps.append(step)
        if len(steps) >= 6:
            return np.mean(steps, 0) * fps
    return None


def silhouette(mask):
    """A mask moved to its centre and scaled to a fixed area, float32 [SIDE, SIDE]."""
    rows, columns = np.nonzero(mask)
    scale = SIDE * 0.5 / np.sqrt(len(rows))
    matrix = np.float32([[scale, 0, SIDE / 2 - scale * columns.mean()], [0, scale, SIDE / 2 - scale * rows.mean()]])
    return cv2.warpAffine(mask.astype(np.float32), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def _likeness(a, b):
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def kind_of(masks, known):
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


def hue_name(pixels):
    """The colour that most pixels of an object have; neutral dark parts do not vote."""
    if not len(pixels):
        return None
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
