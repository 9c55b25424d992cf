"""Sky and ground: pictures that stand still, or scenes twice as wide over which the camera goes, and what falls from the sky."""

import functools
import random

import cv2
import numpy as np

from tools.clips import vocabulary as V

WIDE = 2 * V.WIDTH  # a wide scene closes on itself
_MARGIN = 64  # blur looks this far at most


@functools.lru_cache(maxsize=12)
def backdrop(sky, ground, look, wide=False):
    """Returns (picture [H,W,3] uint8, cover [H,W,1] float32); `cover` in 0…1 is the ground's share of each pixel."""
    rng = random.Random(look)
    width = WIDE if wide else V.WIDTH
    top, bottom, shade, haze = V.SKIES[sky]
    yy = (np.arange(V.HEIGHT, dtype=np.float32) + 0.5)[:, None]
    xx = (np.arange(width, dtype=np.float32) + 0.5)[None]
    u = np.clip(yy / V.HORIZON, 0, 1)[..., None]
    out = np.asarray(top, np.float32) * (1 - u) + np.asarray(bottom, np.float32) * u
    out = np.broadcast_to(out, (V.HEIGHT, width, 3)).copy()
    _decorate(out, sky, rng, wide)

    near, far = (
        np.asarray(c, np.float32) * shade * (1 - haze) + haze * np.asarray(bottom, np.float32) for c in V.GROUNDS[ground]
    )
    far_line, near_line = _horizon(ground, xx, rng, wide)
    cover = np.clip(yy - far_line + 0.5, 0, 1)[..., None]
    front = np.clip(yy - near_line + 0.5, 0, 1)[..., None]
    out = out * (1 - cover) + far * cover
    if ground == "city":
        _windows(out, far_line[0], near, rng)
    depth = 1 - 0.10 * np.clip((yy - near_line) / 30, 0, 1)[..., None]
    out = out * (1 - front) + near * depth * front
    return np.round(255 * np.clip(out, 0, 1)).astype(np.uint8), cover


def _horizon(ground, xx, rng, wide):
    """Heights of the far and the near line of the ground, [1, W] each."""

    def wave(stretch, phase):
        if wide:  # whole waves only, so that the ends meet
            stretch = WIDE / (2 * np.pi * max(1, round(WIDE / (2 * np.pi * stretch))))
        return np.sin(xx / stretch + phase)

    if ground == "sea":
        near_line = V.HORIZON + 16 + 1.6 * wave(9.0, rng.uniform(0, 6.28)) + 0.9 * wave(4.7, rng.uniform(0, 6.28))
        return np.full_like(xx, V.HORIZON), near_line
    if ground == "city":
        roofs, x = np.zeros_like(xx), 0
        while x < xx.shape[1]:
            house = rng.randrange(14, 27)
            roofs[0, x : x + house] = rng.uniform(2, 15)
            x += house
        return V.HORIZON + 3 - roofs, np.full_like(xx, V.HORIZON + 17)
    p, q, r = (rng.uniform(0, 6.28) for _ in range(3))
    far_line = V.HORIZON + 3 + 6 * wave(34, p) + 3 * wave(17, q)
    return far_line, V.HORIZON + 17 + 5 * wave(48, r) + 2 * wave(21, p)


def _windows(out, far_line, shade, rng):
    """Lit windows under the roofs, no brighter than the street is light."""
    light = np.asarray((1.0, 0.92, 0.62), np.float32) * (0.45 + 0.55 * float(shade.max()))
    for x in range(3, out.shape[1] - 4, 7):
        for y in range(int(V.HORIZON) - 8, int(V.HORIZON) + 12, 8):
            if rng.random() < 0.6 and (far_line[x - 2 : x + 6] < y - 2).all():
                out[y : y + 3, x : x + 3] = light


def _layer(rng_shapes, wide):
    """A picture of ones where `rng_shapes(draw)` draws, with a margin that repeats the other end of a wide scene."""
    width = WIDE if wide else V.WIDTH
    layer = np.zeros((V.HEIGHT, width + 2 * _MARGIN), np.float32)
    copies = (-WIDE, 0, WIDE) if wide else (0,)

    def circle(x, y, r):
        for shift in copies:
            cv2.circle(layer, (round((x + shift + _MARGIN) * 16), round(y * 16)), round(r * 16), 1.0, -1, shift=4)

    def ellipse(x, y, w, h):
        for shift in copies:
            cv2.ellipse(layer, ((x + shift + _MARGIN, y), (w, h), 0), 1.0, -1)

    rng_shapes(circle, ellipse)
    return layer


def _blur(layer, sigma):
    return cv2.GaussianBlur(layer, (0, 0), sigma)[:, _MARGIN:-_MARGIN, None]


def _decorate(out, sky, rng, wide):
    """Clouds, moon and stars, the low sun and mist: all of weaker contrast than any object."""
    width = out.shape[1]
    times = 2 if wide else 1

    def clouds(circle, ellipse):
        for _ in range(3 * times):
            x, y, s = rng.uniform(0, width), rng.uniform(10, 70), rng.uniform(9, 15)
            for dx, dy, r in ((-1.3, 0.2, 0.7), (-0.4, -0.2, 1.0), (0.6, 0.0, 0.85), (1.5, 0.3, 0.6)):
                circle(x + dx * s, y + dy * s, r * s)

    def moon_and_stars(circle, ellipse):
        circle(rng.uniform(30, width - 30), rng.uniform(20, 44), 13)
        for _ in range(4 * times):
            x, y = rng.uniform(6, width - 6), rng.uniform(6, V.HORIZON - 30)
            circle(x, y, rng.uniform(2.2, 3.0))

    def sun(circle, ellipse):
        circle(rng.uniform(40, width - 40), V.HORIZON + 4, 30)

    def mist(circle, ellipse):
        for _ in range(3 * times):
            y = rng.uniform(30, V.HORIZON)
            ellipse(rng.uniform(0, width), y, rng.uniform(160, 300), rng.uniform(12, 24))

    if sky in ("day", "rain", "snowfall"):
        share = 0.42 if sky == "day" else 0.16
        out += (1 - out) * share * _blur(_layer(clouds, wide), 1.8)
    elif sky == "night":
        out += (np.asarray((0.95, 0.95, 0.8), np.float32) - out) * 0.6 * _blur(_layer(moon_and_stars, wide), 1.0)
    elif sky == "sunset":
        layer = _layer(sun, wide)
        glow = 0.55 * _blur(layer, 1.2) + 0.35 * _blur(layer, 16)
        out += (np.asarray((1.0, 0.90, 0.66), np.float32) - out) * (0.8 * glow)
    elif sky == "fog":
        out += (1 - out) * 0.35 * _blur(_layer(mist, wide), 8)


def seen(sky, ground, look, offset, wide):
    """The part of a backdrop that the camera sees, `offset` pixels to the right: (picture float32, cover)."""
    picture, cover = backdrop(sky, ground, look, wide)
    if not wide:
        return picture, cover
    whole, part = divmod(offset % WIDE, 1.0)
    columns = (int(whole) + np.arange(V.WIDTH + 1)) % WIDE
    return tuple(a[:, :-1] * (1 - part) + a[:, 1:] * part for a in (picture[:, columns].astype(np.float32), cover[:, columns]))


_FALL = {"rain": (46, 190.0, -24.0), "snowfall": (40, 26.0, 6.0)}  # how many, pixels a second down and to the right


def fall(out, sky, look, frame, share):
    """Draws rain or snow that falls at this frame into `out` [H, W, 3] uint8, `share` 0…1 of it."""
    if sky not in _FALL:
        return
    count, down, aside = _FALL[sky]
    rng = np.random.RandomState(look % (1 << 31))
    x0, y0, pace = rng.uniform(0, V.WIDTH, count), rng.uniform(0, V.HEIGHT, count), rng.uniform(0.8, 1.2, count)
    seconds = frame / V.FPS
    y = (y0 + down * pace * seconds) % V.HEIGHT
    x = (x0 + aside * pace * seconds + (3 * np.sin(seconds * 2 + x0) if sky == "snowfall" else 0)) % V.WIDTH
    layer = np.zeros(out.shape[:2], np.float32)
    for a, b, p in zip(x, y, pace, strict=True):
        at = round(a * 16), round(b * 16)
        if sky == "rain":
            cv2.line(layer, at, (at[0] - 18, at[1] + 128), 1.0, 1, cv2.LINE_AA, 4)
        else:
            cv2.circle(layer, at, round(16 * 1.3 * p), 1.0, -1, cv2.LINE_AA, 4)
    light = (205, 214, 228) if sky == "rain" else (255, 255, 255)
    strength = (0.45 if sky == "rain" else 0.8) * share
    mixed = out + (np.asarray(light, np.float32) - out) * (strength * layer[..., None])
    np.copyto(out, np.round(mixed), casting="unsafe")
