"""Draws stories: a still background, and one object placed to a quarter of a pixel."""

import functools
import random

import cv2
import numpy as np

from tools.clips import shapes
from tools.clips import vocabulary as V
from tools.clips.scene import PERIOD_X, PERIOD_Y, position

FADE_FRAMES = 12  # how long a change of sky takes; a block has 16 frames


@functools.lru_cache(maxsize=8)
def background(sky, ground, look):
    """Returns (picture [H,W,3] uint8, cover [H,W,1] float32); `cover` in 0…1 is the ground's share of each pixel."""
    rng = random.Random(look)
    top, bottom, shade, haze = V.SKIES[sky]
    yy = (np.arange(V.HEIGHT, dtype=np.float32) + 0.5)[:, None]
    xx = (np.arange(V.WIDTH, dtype=np.float32) + 0.5)[None]
    u = np.clip(yy / V.HORIZON, 0, 1)[..., None]
    out = np.asarray(top, np.float32) * (1 - u) + np.asarray(bottom, np.float32) * u
    out = np.broadcast_to(out, (V.HEIGHT, V.WIDTH, 3)).copy()
    _decorate(out, sky, rng)

    near, far = (
        np.asarray(c, np.float32) * shade * (1 - haze) + haze * np.asarray(bottom, np.float32) for c in V.GROUNDS[ground]
    )
    if ground == "sea":
        far_line = np.full_like(xx, V.HORIZON)
        wave = 1.6 * np.sin(xx / 9.0 + rng.uniform(0, 6.28)) + 0.9 * np.sin(xx / 4.7 + rng.uniform(0, 6.28))
        near_line = V.HORIZON + 16 + wave
    else:
        p, q, r = (rng.uniform(0, 6.28) for _ in range(3))
        far_line = V.HORIZON + 3 + 6 * np.sin(xx / 34 + p) + 3 * np.sin(xx / 17 + q)
        near_line = V.HORIZON + 17 + 5 * np.sin(xx / 48 + r) + 2 * np.sin(xx / 21 + p)
    cover = np.clip(yy - far_line + 0.5, 0, 1)[..., None]
    front = np.clip(yy - near_line + 0.5, 0, 1)[..., None]
    out = out * (1 - cover) + far * cover
    depth = 1 - 0.10 * np.clip((yy - near_line) / 30, 0, 1)[..., None]
    out = out * (1 - front) + near * depth * front
    return np.round(255 * np.clip(out, 0, 1)).astype(np.uint8), cover


def _decorate(out, sky, rng):
    """Clouds, stars, the low sun and mist: all of weaker contrast than any object."""
    layer = np.zeros(out.shape[:2], np.float32)
    if sky == "day":
        for _ in range(3):
            x, y, s = rng.uniform(0, V.WIDTH), rng.uniform(10, 70), rng.uniform(9, 15)
            for dx, dy, r in ((-1.3, 0.2, 0.7), (-0.4, -0.2, 1.0), (0.6, 0.0, 0.85), (1.5, 0.3, 0.6)):
                cv2.circle(layer, (round((x + dx * s) * 16), round((y + dy * s) * 16)), round(r * s * 16), 1.0, -1, shift=4)
        out += (1 - out) * 0.42 * cv2.GaussianBlur(layer, (0, 0), 1.8)[..., None]
    elif sky == "night":
        for _ in range(16):
            x, y = rng.uniform(4, V.WIDTH - 4), rng.uniform(4, V.HORIZON - 20)
            cv2.circle(layer, (round(x * 16), round(y * 16)), round(rng.uniform(1.0, 1.7) * 16), 1.0, -1, shift=4)
        out += (np.asarray((0.95, 0.95, 0.8), np.float32) - out) * 0.8 * cv2.GaussianBlur(layer, (0, 0), 0.7)[..., None]
    elif sky == "sunset":
        x = rng.uniform(40, V.WIDTH - 40)
        cv2.circle(layer, (round(x * 16), round((V.HORIZON + 4) * 16)), 30 * 16, 1.0, -1, shift=4)
        glow = 0.55 * cv2.GaussianBlur(layer, (0, 0), 1.2) + 0.35 * cv2.GaussianBlur(layer, (0, 0), 16)
        out += (np.asarray((1.0, 0.90, 0.66), np.float32) - out) * (0.8 * glow)[..., None]
    elif sky == "fog":
        for _ in range(3):
            y = rng.uniform(30, V.HORIZON)
            cv2.ellipse(layer, ((rng.uniform(0, V.WIDTH), y), (rng.uniform(160, 300), rng.uniform(12, 24)), 0), 1.0, -1)
        out += (1 - out) * 0.35 * cv2.GaussianBlur(layer, (0, 0), 8)[..., None]


def _place(out, image, x, y, hidden):
    """Draws an enlarged sprite (RGBA, premultiplied) with its centre at (x, y); `hidden` [H,W,1] is what covers it."""
    s = shapes.SCALE
    half = image.shape[0] // 2
    left, top = round(x * s) - half, round(y * s) - half
    x0, y0 = left // s, top // s
    side = image.shape[0] // s + 2
    rgba = np.zeros((side * s, side * s, 4), np.float32)
    oy, ox = top - y0 * s, left - x0 * s
    rgba[oy : oy + image.shape[0], ox : ox + image.shape[1]] = image
    small = cv2.resize(rgba, (side, side), interpolation=cv2.INTER_AREA)
    a, b = max(0, -y0), min(side, V.HEIGHT - y0)
    c, d = max(0, -x0), min(side, V.WIDTH - x0)
    if a >= b or c >= d:
        return
    view = np.s_[y0 + a : y0 + b, x0 + c : x0 + d]
    part = small[a:b, c:d] * (1 - hidden[view])
    out[view] = np.round(out[view] * (1 - part[..., 3:]) + 255 * part[..., :3])


def render(story, start, stop):
    """Frames [stop-start, H, W, 3] uint8, RGB, of a story. Any cut of the range gives the same frames."""
    scenes = {(s.sky, s.ground) for s in (story.first, story.second)}
    grounds = {key: background(*key, story.look) for key in scenes}
    radius = V.SIZES[story.first.size]
    frames = np.empty((stop - start, V.HEIGHT, V.WIDTH, 3), np.uint8)
    for out, frame in zip(frames, range(start, stop), strict=True):
        scene = story.at(frame)
        picture, cover = grounds[scene.sky, scene.ground]
        share = 1.0
        if scene is not story.first:
            share = min(1.0, (frame - story.switch + 1) / FADE_FRAMES)
        if share < 1.0 and scene.sky != story.first.sky:
            before, cover = grounds[story.first.sky, story.first.ground]
            picture = before * (1 - share) + picture * share
        np.copyto(out, picture, casting="unsafe")
        x, y = position(story, frame)
        phase = frame % shapes.PHASES if scene.kind in shapes.ANIMATED else 0
        image = shapes.sprite(scene.kind, scene.colour, radius, scene.direction, phase)
        if share < 1.0 and scene.colour != story.first.colour:
            image = shapes.sprite(scene.kind, story.first.colour, radius, scene.direction, phase) * (1 - share) + image * share
        across = scene.direction in ("left", "right")
        for k in (-1, 0, 1):
            cx, cy = (x + k * PERIOD_X, y) if across else (x, y + k * PERIOD_Y)
            if max(abs(cx - V.WIDTH / 2) - V.WIDTH / 2, abs(cy - V.HEIGHT / 2) - V.HEIGHT / 2) < radius + 4:
                _place(out, image, cx, cy, cover)
    return frames
