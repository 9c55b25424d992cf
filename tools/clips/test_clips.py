"""The clip program: deterministic, independent of the cut, and truthful captions. Needs no torch."""

import random
import unittest

import numpy as np

from tools.clips import caption, held_out, render, sample_scene, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import Scene, Story, block_start_frame, position


def _still(direction="right", speed="normal", **change):
    scene = Scene("ball", "red", "medium", direction, speed, "day", "meadow")
    return Story(scene, scene, None, change.get("x", 100.0), change.get("y", 60.0), 1, 0.0)


class Clips(unittest.TestCase):
    def test_same_seed_same_frames_and_any_cut(self):
        story = sample_story(random.Random(5), switch_block=1)
        whole = render(story, 0, 40)
        again = sample_story(random.Random(5), switch_block=1)
        self.assertTrue(np.array_equal(whole[17:31], render(again, 17, 31)))
        self.assertFalse(np.array_equal(whole, render(sample_story(random.Random(6), switch_block=1), 0, 40)))

    def test_object_is_where_the_path_says_and_has_its_colour(self):
        for kind_seed in range(12):
            story = sample_story(random.Random(kind_seed))
            empty = render(Story(story.first, story.second, None, -999.0, story.y, story.look, story.bob), 0, 1)[0]
            frame = render(story, 0, 1)[0]
            changed = np.abs(frame.astype(int) - empty).sum(2) > 40
            x, y = position(story, 0)
            rows, columns = np.nonzero(changed)
            near = (np.abs(rows - y) < 40) & (np.abs(columns - x) < 40)
            self.assertGreater(near.sum(), 100, story)

    def test_direction_and_speed(self):
        for direction, (dx, dy) in V.DIRECTIONS.items():
            for speed, pixels in V.SPEEDS.items():
                story = _still(direction, speed)
                a, b = position(story, 0), position(story, 48)  # the sway's period: it cancels
                moved = np.subtract(b, a) - np.array((dx, dy)) * pixels * 3
                moved -= np.round(moved / (V.WIDTH, V.HORIZON + 6)) * (V.WIDTH, V.HORIZON + 6)
                self.assertLess(np.abs(moved).max(), 1e-6)

    def test_switch_happens_at_its_block(self):
        self.assertEqual([block_start_frame(b) for b in range(4)], [0, 17, 33, 49])
        story = sample_story(random.Random(1), switch_block=2)
        self.assertEqual(story.at(32), story.first)
        self.assertEqual(story.at(33), story.second)
        self.assertNotEqual(story.first, story.second)

    def test_held_out_scenes_never_train(self):
        rng = random.Random(0)
        self.assertFalse(any(held_out(sample_scene(rng)) for _ in range(500)))
        self.assertTrue(all(held_out(sample_scene(rng, held=True)) for _ in range(50)))

    def test_held_out_switches_are_held_out_on_both_sides(self):
        for seed in range(100):
            story = sample_story(random.Random(seed), switch_block=2, held=True)
            self.assertTrue(held_out(story.first) and held_out(story.second))
            self.assertNotEqual(story.first, story.second)

    def test_captions_name_kind_and_colour_and_vary(self):
        rng = random.Random(0)
        scene = sample_scene(rng)
        texts = {caption(scene, rng) for _ in range(60)}
        self.assertGreater(len(texts), 40)
        for text in texts:
            self.assertIn(scene.colour, text)
            self.assertIn(scene.kind, text)
            self.assertEqual(text, text.lower())


if __name__ == "__main__":
    unittest.main()
