"""Draws one object as a picture with alpha, enlarged, to be shrunk into the frame later.

A shape is a function of a pen: it paints parts in unit coordinates (x right, y down, the object
fits in [-1, 1]). The outline comes from the union of all parts, so no shape draws its own.
"""

import functools

import cv2
import numpy as np

from tools.clips.vocabulary import COLOURS

SCALE = 4  # enlarged pixels a frame pixel: 17 levels of coverage along an edge
OUTLINE = 3.0  # frame pixels; of 1.7 the VAE made dashes
_SHIFT = 4  # fractional bits of OpenCV's drawing calls
_INK = np.array((0.10, 0.08, 0.16))


def _mix(a, b, share):
    return tuple(np.asarray(a) * (1 - share) + np.asarray(b) * share)


class _Pen:
    """Paints polygons and ellipses in unit coordinates on an enlarged canvas."""

    def __init__(self, radius, colour, phase):
        self.unit = (radius - OUTLINE / 2) * SCALE
        self.half = int(np.ceil((radius + OUTLINE / 2 + 2) * SCALE))
        side = 2 * self.half
        self.image = np.zeros((side, side, 3), np.uint8)
        self.mask = np.zeros((side, side), np.uint8)
        self.phase = phase
        self.main = colour
        self.light = _mix(colour, (1, 1, 1), 0.45)
        self.dark = _mix(colour, _INK, 0.30)

    def _points(self, points):
        p = (np.asarray(points, np.float64) * self.unit + self.half - 0.5) * (1 << _SHIFT)
        return np.round(p).astype(np.int32)[None]

    def polygon(self, points, colour):
        p = self._points(points)
        paint = tuple(float(255 * c) for c in colour)
        cv2.fillPoly(self.image, p, paint, cv2.LINE_8, _SHIFT)
        cv2.fillPoly(self.mask, p, 255, cv2.LINE_8, _SHIFT)

    def ellipse(self, x, y, rx, ry, colour, turn=0.0, start=0.0, stop=2 * np.pi):
        a = np.linspace(start, stop, 64)
        c, s = np.cos(turn), np.sin(turn)
        ex, ey = rx * np.cos(a), ry * np.sin(a)
        self.polygon(np.stack([x + c * ex - s * ey, y + s * ex + c * ey], 1), colour)

    def box(self, x0, y0, x1, y1, colour, rounding=0.0):
        r = rounding
        corners = []
        for cx, cy, a0 in ((x1 - r, y1 - r, 0), (x0 + r, y1 - r, 1), (x0 + r, y0 + r, 2), (x1 - r, y0 + r, 3)):
            a = np.linspace(a0 * np.pi / 2, (a0 + 1) * np.pi / 2, 8)
            corners.append(np.stack([cx + r * np.cos(a), cy + r * np.sin(a)], 1))
        self.polygon(np.concatenate(corners), colour)


def _ball(pen):
    pen.ellipse(0, 0, 0.96, 0.96, pen.dark)
    pen.ellipse(-0.06, -0.06, 0.88, 0.88, pen.main)
    pen.ellipse(-0.34, -0.38, 0.26, 0.18, pen.light, -0.7)


def _star(pen):
    a = np.arange(10) * np.pi / 5 - np.pi / 2
    r = np.where(np.arange(10) % 2 == 0, 1.0, 0.50)
    pen.polygon(np.stack([r * np.cos(a), r * np.sin(a) + 0.05], 1), pen.main)


def _heart(pen):
    a = np.linspace(0, 2 * np.pi, 96)
    x = np.sin(a) ** 3
    y = -(13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)) / 16
    pen.polygon(np.stack([x, y], 1), pen.main)
    pen.ellipse(-0.48, -0.42, 0.20, 0.15, pen.light, -0.7)


def _balloon(pen):
    brown = (0.62, 0.40, 0.20)
    pen.polygon([(-0.34, 0.28), (0.34, 0.28), (0.20, 0.72), (-0.20, 0.72)], pen.dark)
    pen.box(-0.26, 0.62, 0.26, 1.0, brown, 0.06)
    a = np.linspace(np.pi * 0.92, np.pi * 2.08, 40)
    top = np.stack([0.76 * np.cos(a), -0.28 + 0.72 * np.sin(a)], 1)
    pen.polygon(np.concatenate([top, [(0.32, 0.44), (-0.32, 0.44)]]), pen.main)
    pen.ellipse(-0.26, -0.50, 0.20, 0.28, pen.light, 0.4)


def _car(pen):
    pen.polygon([(-0.66, -0.04), (-0.44, -0.62), (0.28, -0.62), (0.60, -0.04)], pen.main)
    pen.polygon([(-0.42, -0.08), (-0.29, -0.46), (0.18, -0.46), (0.38, -0.08)], (0.74, 0.90, 0.98))
    pen.box(-1.0, -0.10, 1.0, 0.38, pen.main, 0.16)
    for x in (-0.52, 0.52):
        pen.ellipse(x, 0.38, 0.29, 0.29, (0.16, 0.16, 0.20))


def _boat(pen):
    pen.polygon([(-0.72, 0.36), (0.10, -0.96), (0.80, 0.36)], pen.main)
    pen.polygon([(-0.98, 0.38), (0.98, 0.38), (0.64, 0.94), (-0.64, 0.94)], pen.dark)


def _fish(pen):
    wag = 0.10 * np.sin(2 * np.pi * pen.phase)
    pen.polygon([(-0.40, 0.0), (-1.0, -0.58 + wag), (-0.82, wag), (-1.0, 0.58 + wag)], pen.dark)
    pen.polygon([(-0.20, -0.44), (0.14, -0.80), (0.40, -0.34)], pen.dark)
    pen.ellipse(0.20, 0.0, 0.80, 0.56, pen.main)
    pen.ellipse(0.58, -0.14, 0.17, 0.17, (1, 1, 1))
    pen.ellipse(0.62, -0.14, 0.09, 0.09, tuple(_INK))


def _rocket(pen):
    flame = 0.06 * np.sin(2 * np.pi * pen.phase)
    pen.polygon([(-0.24, 0.58), (0.24, 0.58), (0.0, 0.94 + flame)], (1.0, 0.72, 0.20))
    pen.polygon([(-0.30, 0.02), (-0.72, 0.50), (-0.66, 0.80), (-0.24, 0.60)], pen.dark)
    pen.polygon([(0.30, 0.02), (0.72, 0.50), (0.66, 0.80), (0.24, 0.60)], pen.dark)
    a = np.linspace(-1, 1, 40)
    side = 0.44 * np.cos(a * np.pi / 2 * 0.86) ** 0.75
    body = np.stack([side, -0.98 + (a + 1) * 0.82], 1)
    pen.polygon(np.concatenate([body, body[::-1] * (-1, 1)]), pen.main)
    pen.ellipse(0, -0.24, 0.19, 0.19, (0.90, 0.95, 1.0))


def _bird(pen):
    flap = np.sin(2 * np.pi * pen.phase)
    pen.polygon([(-0.50, 0.06), (-1.0, -0.16), (-0.94, 0.26)], pen.dark)
    pen.polygon([(0.76, -0.24), (1.0, -0.12), (0.76, -0.04)], (1.0, 0.66, 0.14))
    pen.ellipse(0.0, 0.08, 0.64, 0.36, pen.main)
    pen.ellipse(0.54, -0.14, 0.30, 0.28, pen.main)
    pen.ellipse(0.62, -0.20, 0.07, 0.07, tuple(_INK))
    pen.polygon([(-0.36, 0.0), (0.22, 0.0), (-0.12, -0.66 * flap)], pen.light)


def _house(pen):
    pen.box(-0.72, -0.12, 0.72, 0.96, pen.main)
    pen.polygon([(-0.96, -0.06), (0.0, -0.92), (0.96, -0.06)], pen.dark)
    pen.box(-0.16, 0.38, 0.18, 0.96, (0.45, 0.28, 0.16))
    pen.box(-0.54, 0.14, -0.26, 0.42, (0.98, 0.93, 0.66))
    pen.box(0.30, 0.14, 0.58, 0.42, (0.98, 0.93, 0.66))


def _tree(pen):
    pen.box(-0.13, 0.30, 0.13, 0.98, (0.50, 0.33, 0.18))
    for x, y, r in ((-0.36, 0.06, 0.44), (0.36, 0.06, 0.44), (0.0, -0.42, 0.54)):
        pen.ellipse(x, y, r, r, pen.main)
    pen.ellipse(-0.16, -0.56, 0.20, 0.16, pen.light)


def _moon(pen):
    a = np.linspace(-0.62 * np.pi, 0.62 * np.pi, 48)
    outer = np.stack([0.35 - 0.95 * np.cos(a), 0.95 * np.sin(a)], 1)
    b = np.linspace(0.62 * np.pi, -0.62 * np.pi, 48)
    inner = np.stack([0.62 - 0.62 * np.cos(b) + 0.02, 0.90 * np.sin(b)], 1)
    pen.polygon(np.concatenate([outer, inner]), pen.main)


_DRAW = {
    "ball": _ball,
    "star": _star,
    "heart": _heart,
    "balloon": _balloon,
    "car": _car,
    "boat": _boat,
    "fish": _fish,
    "rocket": _rocket,
    "bird": _bird,
    "house": _house,
    "tree": _tree,
    "moon": _moon,
}
# Shapes that look where they go: drawn facing right (mirrored for left), or, the rocket, nose up (turned).
_FACES = {"car", "boat", "fish", "bird"}
ANIMATED = {"fish", "rocket", "bird"}
PHASES = 8


@functools.lru_cache(maxsize=512)
def sprite(kind, colour, radius, direction, phase, light=False):
    """Returns RGBA [side,side,4], premultiplied, float32 in 0…1, enlarged by SCALE; the object's centre is the picture's.

    `phase` in 0…PHASES-1 picks the moment of the shape's own movement (wings, tail, flame). `light`: the outline is lighter
    than the object, not darker.
    """
    pen = _Pen(radius, COLOURS[colour], phase / PHASES)
    _DRAW[kind](pen)
    width = round(OUTLINE * SCALE)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    alpha = cv2.dilate(pen.mask, kernel)
    ink = np.asarray(_mix(COLOURS[colour], (1, 1, 1), 0.6) if light else _mix(COLOURS[colour], _INK, 0.72)) * 255
    rgb = np.where(pen.mask[..., None] > 0, pen.image, ink.astype(np.uint8))
    if kind in _FACES and direction == "left":
        rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
    if kind == "rocket":
        turns = {"up": 0, "left": 1, "down": 2, "right": 3}[direction]
        rgb, alpha = np.rot90(rgb, turns), np.rot90(alpha, turns)
    cover = alpha[..., None].astype(np.float32) / 255
    return np.concatenate([rgb.astype(np.float32) / 255 * cover, cover], -1)
