"""The control is worth something: what is damaged is not seen as whole. Needs OpenCV, no torch."""

import dataclasses
import unittest

import cv2
import numpy as np

from tools.clips import render
from tools.clips.backdrop import seen as backdrop_seen
from tools.eval import cases, measure
from tools.eval.table import Table

_FRAMES = 97
_SECOND = 2.5
_CLIPS = 10


def _blurred(frames, story):
    """The object smeared over its surroundings: its edges are as wide as a third of the smallest object."""
    empty = _empty(story)
    difference = frames.astype(np.float32) - empty
    return np.stack([np.clip(empty + cv2.GaussianBlur(d, (0, 0), 7.0), 0, 255) for d in difference]).astype(np.uint8)


def _faded(frames, story):
    """The object dissolves within the first second to a tenth of what it was."""
    empty = _empty(story).astype(np.float32)
    share = np.clip(1 - np.arange(len(frames)) / 16, 0.1, 1)[:, None, None, None].astype(np.float32)
    return np.round(empty + share * (frames - empty)).astype(np.uint8)


def _torn(frames, story):
    """The object in stripes that are moved against each other."""
    out = frames.copy()
    for top in range(0, 120, 8):
        out[:, top : top + 8] = np.roll(frames[:, top : top + 8], 10 if top % 16 else -10, 2)
    return out


def _other_kind(frames, story):
    kinds = {"ball": "star", "star": "heart", "heart": "balloon", "balloon": "car", "car": "boat", "boat": "fish"}
    kind = kinds.get(story.first.kind, "ball")
    return render(dataclasses.replace(story, scenes=((0, dataclasses.replace(story.first, kind=kind)),)), 0, len(frames))


def _empty(story):
    return backdrop_seen(story.first.sky, story.first.ground, story.look, 0.0, False)[0]


class Control(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.clips = [(case.story, render(case.story, 0, _FRAMES)) for case in cases.plain(_CLIPS, 0, 6, "damage")]

    def _shares(self, damage=None):
        table = Table()
        for story, frames in self.clips:
            shown = damage(frames, story) if damage else frames
            table.add(_SECOND, measure.Watcher(shown, 16.0).look(_SECOND), story.first)
        return table.shares()[_SECOND]

    def test_whole_clips_are_seen(self):
        self.assertGreaterEqual(min(self._shares().values()), 1.0)

    def test_a_smeared_object_has_no_kind(self):
        self.assertLess(self._shares(_blurred)["kind"], 0.5)

    def test_a_torn_object_has_no_kind(self):
        self.assertLess(self._shares(_torn)["kind"], 0.5)

    def test_a_dissolved_object_is_not_there(self):
        shares = self._shares(_faded)
        self.assertLess(max(shares["kind"], shares["colour"], shares["direction"]), 0.5)
        self.assertEqual(shares["background"], 1.0)

    def test_another_kind_is_not_taken_for_the_one_asked_for(self):
        shares = self._shares(_other_kind)
        self.assertEqual(shares["kind"], 0.0)
        self.assertEqual(shares["colour"], 1.0)


if __name__ == "__main__":
    unittest.main()
