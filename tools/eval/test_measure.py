"""The evaluator sees what was drawn, and does not see what was not. Needs OpenCV, no torch."""

import dataclasses
import os
import random
import tempfile
import unittest

import cv2
import numpy as np

from tools.clips import Story, render, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import Guest
from tools.eval import cases, measure, sheet
from tools.video import write_mp4


def _own_picture(direction):
    """A scene drawn here and by nobody else: a blue disc over green ground under a light sky."""
    frames = np.empty((49, 160, 256, 3), np.uint8)
    frames[:, :120] = (150, 205, 250)
    frames[:, 120:] = (80, 170, 60)
    for i in range(49):
        x, y = 128 + direction[0] * (i - 24) * 2, 60 + direction[1] * (i - 24) * 2
        cv2.circle(frames[i], (x, y), 23, (20, 70, 230), -1, cv2.LINE_AA)
    return frames


class Measure(unittest.TestCase):
    def test_own_drawing(self):
        for direction, name in (((1, 0), "right"), ((-1, 0), "left"), ((0, 1), "down"), ((0, -1), "up")):
            seen = measure.Watcher(_own_picture(direction), 16.0).look(1.5)
            self.assertEqual((seen.direction, seen.colour, seen.kind, seen.size), (name, "blue", "ball", "medium"))
            self.assertEqual((seen.sky, seen.ground), ("day", "meadow"))

    def test_empty_scene_shows_no_object(self):
        frames = _own_picture((1, 0))
        seen = measure.Watcher(np.repeat(frames[:1, :, :60], 40, 0), 16.0).look(1.0)
        self.assertEqual((seen.colour, seen.kind, seen.direction), (None, None, None))

    def test_own_second_object(self):
        frames = _own_picture((1, 0))
        for i in range(49):
            x = 230 - 3 * i
            cv2.circle(frames[i], (x, 96), 16, (230, 30, 30), -1, cv2.LINE_AA)
        seen = measure.Watcher(frames, 16.0).look(1.5)
        self.assertEqual({f"{seen.colour} {seen.kind}", seen.guest}, {"blue ball", "red ball"})

    def test_own_camera(self):
        rng = np.random.default_rng(0)
        wide = cv2.GaussianBlur(rng.integers(60, 200, (160, 400, 3)).astype(np.uint8), (0, 0), 4)
        for pace, camera in ((12, "right"), (-12, "left"), (0, "still")):
            frames = np.empty((81, 160, 256, 3), np.uint8)
            for i in range(81):
                left = round(70 + pace * (i - 40) / 16)
                frames[i] = wide[:, left : left + 256]
                cv2.circle(frames[i], (70 + 2 * i, 60), 23, (20, 70, 250), -1, cv2.LINE_AA)
            seen = measure.Watcher(frames, 16.0).look(2.5)
            self.assertEqual((seen.camera, seen.kind, seen.direction), (camera, "ball", "right"))

    def test_drawn_camera_and_guest(self):
        scene = sample_story(random.Random(11), held=True).first
        scene = dataclasses.replace(scene, kind="car", colour="red", size="small", direction="right", speed="slow", sky="day")
        guest = Guest("star", "blue", "medium", "left", "fast")
        for camera in ("left", "right"):
            both = dataclasses.replace(scene, camera=camera, guest=guest)
            seen = measure.Watcher(render(Story(((0, both),), 60, 90, 1, 0.0), 0, 97), 16.0).look(3)
            self.assertEqual(seen.camera, camera)
            self.assertEqual({f"{seen.colour} {seen.kind}", seen.guest}, {"red car", "blue star"})

    def test_drawn_clips(self):
        for seed in range(4):
            story = sample_story(random.Random(f"measure/{seed}"), held=True)
            # 11 s, as in the evaluation: in 6 s a big and slow thing leaves some places too seldom for the background to be seen.
            seen = measure.Watcher(render(story, 0, 177), 16.0).look(2.5)
            for part in ("kind", "colour", "direction", "sky", "ground"):
                self.assertEqual(getattr(seen, part), getattr(story.first, part), f"{seed} {part}")

    def test_a_part_of_an_object_is_no_second_one(self):
        # A balloon that leaves below and comes back above, its basket first.
        stories = (case.story for case in cases.plain(400, 0, 11, level=1))
        story = next(s for s in stories if (s.first.kind, s.first.size, s.first.direction) == ("balloon", "big", "down"))
        seen = measure.Watcher(render(story, 0, 177), 16.0).look(1)
        self.assertEqual((seen.kind, seen.size, seen.direction, seen.guest), ("balloon", "big", "down", None))

    def test_wide_skies_and_grounds(self):
        scene = sample_story(random.Random(3), held=True).first
        for sky in V.SKIES:
            for ground in V.GROUNDS:
                story = sample_story(random.Random(f"{sky}/{ground}"))
                story = dataclasses.replace(story, scenes=((0, dataclasses.replace(scene, sky=sky, ground=ground)),))
                seen = measure.Watcher(render(story, 0, 33), 16.0).look(1)
                self.assertEqual((seen.sky, seen.ground), (sky, ground))

    def test_border_ratio_sees_a_flicker(self):
        rng = np.random.default_rng(0)
        frames = (128 + np.cumsum(rng.normal(0, 1, (65, 8, 8, 3)), 0)).astype(np.uint8)
        self.assertLess(abs(measure.border_ratio(frames, 5, 4) - 1), 0.15)
        jumping = frames.copy()
        for start in (17, 33, 49):
            jumping[start:] += 9
        self.assertGreater(measure.border_ratio(jumping, 5, 4), 3)

    def test_drift_sees_a_faded_picture(self):
        frames = _own_picture((1, 0))
        same = measure.drift(frames, 16.0, early=0.5, late=2.5)
        faded = frames.copy()
        faded[30:] = cv2.GaussianBlur(frames[30], (0, 0), 6) // 2 + 60
        other = measure.drift(faded, 16.0, early=0.5, late=2.5)
        self.assertGreater(same[0], 0.9)
        self.assertLess(other[0], 0.6)
        self.assertLess(other[1], 0.2 * same[1])

    def test_a_sheet_has_the_moments_asked_for(self):
        frames = np.repeat(np.arange(40, 240, 5, np.uint8), 32 * 48 * 3).reshape(40, 32, 48, 3)  # 5 lighter every frame
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "grey.mp4")
            write_mp4(path, frames)
            row = sheet.row(path, (0, 1, 60))
        self.assertEqual(row.shape, (32, 3 * 48, 3))
        seen = row.reshape(32, 3, 48, 3).mean((0, 2, 3))
        self.assertLess(np.abs(seen - (40, 120, 235)).max(), 3)


if __name__ == "__main__":
    unittest.main()
