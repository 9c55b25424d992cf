"""Draws stories: a backdrop, what falls from the sky, and objects placed to a quarter of a pixel."""

import dataclasses

import cv2
import numpy as np

from tools.clips import shapes
from tools.clips import vocabulary as V
from tools.clips.backdrop import fall, seen
from tools.clips.scene import PERIOD_X, PERIOD_Y, camera_offset, guest_position, position

FADE_FRAMES = 12  # how long a change of sky takes; a block has 16 frames


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


def _look_of(thing, frame, sky):
    phase = frame % shapes.PHASES if thing.kind in shapes.ANIMATED else 0
    return shapes.sprite(thing.kind, thing.colour, V.SIZES[thing.size], thing.direction, phase, sky in V.DARK_SKIES)


def _object(story, frame, share):
    """The object's picture at a frame; a new colour, and another sky's outline, come gradually."""
    scene, _, before = story.at(frame)
    image = _look_of(scene, frame, scene.sky)
    if share < 1.0 and (scene.colour, scene.sky) != (before.colour, before.sky):
        old = _look_of(dataclasses.replace(scene, colour=before.colour), frame, before.sky)
        image = old * (1 - share) + image * share
    return image


def render(story, start, stop):
    """Frames [stop-start, H, W, 3] uint8, RGB, of a story. Any cut of the range gives the same frames."""
    wide = any(scene.camera != "still" for _, scene in story.scenes)
    radius = V.SIZES[story.first.size]
    frames = np.empty((stop - start, V.HEIGHT, V.WIDTH, 3), np.uint8)
    for out, frame in zip(frames, range(start, stop), strict=True):
        scene, since, before = story.at(frame)
        offset = camera_offset(story, frame) if wide else 0.0
        picture, cover = seen(scene.sky, scene.ground, story.look, offset, wide)
        share = 1.0 if before is None else min(1.0, (frame - since + 1) / FADE_FRAMES)
        if share < 1.0 and scene.sky != before.sky:
            old, cover = seen(before.sky, before.ground, story.look, offset, wide)
            picture = old * (1 - share) + picture * share
            falling = ((before.sky, 1 - share), (scene.sky, share))
        else:
            falling = ((scene.sky, 1.0),)
        np.copyto(out, picture, casting="unsafe")
        for sky, strength in falling:
            fall(out, sky, story.look, frame, strength)
        if scene.guest is not None:
            x, y = guest_position(story, frame)
            _place(out, _look_of(scene.guest, frame, scene.sky), x, y, cover)
        x, y = position(story, frame)
        image = _object(story, frame, share)
        across = scene.direction in ("left", "right")
        for k in (-1, 0, 1):
            cx, cy = (x + k * PERIOD_X, y) if across else (x, y + k * PERIOD_Y)
            if max(abs(cx - V.WIDTH / 2) - V.WIDTH / 2, abs(cy - V.HEIGHT / 2) - V.HEIGHT / 2) < radius + 4:
                _place(out, image, cx, cy, cover)
    return frames
