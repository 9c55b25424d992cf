"""The clip program: deterministic, independent of the cut, and truthful captions. Needs no torch."""

import dataclasses
import itertools
import random
import unittest

import numpy as np

from tools.clips import caption, held_out, render, sample_scene, sample_story
from tools.clips import vocabulary as V
from tools.clips.backdrop import WIDE, seen
from tools.clips.scene import Guest, Scene, Story, block_start_frame, camera_offset, guest_position, position, sample_tale


def _still(direction="right", speed="normal", **change):
    scene = Scene("ball", "red", "medium", direction, speed, "day", "meadow")
    return Story(((0, scene),), change.get("x", 100.0), change.get("y", 60.0), 1, 0.0)


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
            empty = render(dataclasses.replace(story, x=story.x + 128), 0, 1)[0]
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

    def test_lanes(self):
        for seed in range(60):
            story = sample_story(random.Random(seed), None if seed % 3 else 2, V.LEVELS[0])
            across = story.first.direction in ("left", "right")
            along, aside = (story.x, story.y) if across else (story.y, story.x)
            self.assertEqual((along % 32, aside % 32), (0, 0), story)
            middle = 128 if across else 72
            self.assertEqual(along < middle, story.first.direction in ("right", "down"), "it comes from there")
            a, b = position(story, 0), position(story, 12)  # within the first block
            self.assertEqual((a[1] if across else a[0]), (b[1] if across else b[0]))
            if story.last.direction != story.first.direction:
                there = position(story, story.switch)
                self.assertTrue(20 < there[0] < V.WIDTH - 20 and 20 < there[1] < V.HORIZON - 10, story)

    def test_later_in_a_story_an_object_may_be_anywhere(self):
        places = {"left": [], "right": [], "up": [], "down": []}
        for seed in range(400):
            story = sample_story(random.Random(seed), level=V.LEVELS[0], later=True)
            across = story.first.direction in ("left", "right")
            along, aside = (story.x, story.y) if across else (story.y, story.x)
            self.assertEqual((along % 4, aside % 32), (0, 0), story)
            places[story.first.direction].append(along)
        for directions, period in ((("left", "right"), V.WIDTH), (("up", "down"), V.HORIZON + 6)):  # half out of the frame too
            self.assertTrue(all(min(places[d]) <= 12 and max(places[d]) >= period - 16 for d in directions), places)

    def test_an_object_may_stand_before_it_sets_out(self):
        story = dataclasses.replace(_still("left", "slow"), stands=16)
        self.assertEqual(position(story, 0)[0], position(story, 16)[0])
        self.assertEqual(position(story, 16)[0] - position(story, 32)[0], V.SPEEDS["slow"])

    def test_switch_happens_at_its_block(self):
        self.assertEqual([block_start_frame(b) for b in range(4)], [0, 17, 33, 49])
        story = sample_story(random.Random(1), switch_block=2)
        self.assertEqual(story.at(32)[0], story.first)
        self.assertEqual(story.at(33)[0], story.last)
        self.assertNotEqual(story.first, story.last)

    def test_held_out_scenes_never_train(self):
        rng = random.Random(0)
        self.assertFalse(any(held_out(sample_scene(rng)) for _ in range(500)))
        self.assertTrue(all(held_out(sample_scene(rng, held=True)) for _ in range(50)))

    def test_held_out_switches_are_held_out_on_both_sides(self):
        for seed in range(100):
            story = sample_story(random.Random(seed), switch_block=2, held=True)
            self.assertTrue(held_out(story.first) and held_out(story.last))
            self.assertNotEqual(story.first, story.last)

    def test_an_outline_stands_out_from_every_sky(self):
        for sky in V.SKIES:
            for colour in V.COLOURS:
                scene = dataclasses.replace(_still().first, colour=colour, sky=sky)
                story = dataclasses.replace(_still(), scenes=((0, scene),))
                picture = render(story, 0, 1)[0].astype(int)
                behind = seen(sky, scene.ground, story.look, 0.0, False)[0]
                edge = picture[50:70, 72:77] - behind[50:70, 72:77]  # the left end of a ball about (100, 60)
                self.assertGreater(np.abs(edge).sum(-1).max(1).min(), 100, f"{sky} {colour}")

    def test_every_sky_and_ground_can_be_told_from_the_others(self):
        pictures = {}
        for sky in V.SKIES:
            for ground in V.GROUNDS:
                picture = seen(sky, ground, 5, 0.0, False)[0].astype(float)
                pictures[sky, ground] = np.concatenate([picture[:100].mean((0, 1)), picture[-15:].mean((0, 1))])
        keys = list(pictures)
        for i, a in enumerate(keys):
            for b in keys[:i]:
                self.assertGreater(np.abs(pictures[a] - pictures[b]).max(), 12, f"{a} {b}")

    def test_camera_goes_over_a_scene_that_closes_on_itself(self):
        for ground in V.GROUNDS:
            there = seen("day", ground, 3, 77.0, True)[0]
            self.assertTrue(np.array_equal(there, seen("day", ground, 3, 77.0 + WIDE, True)[0]))
            moved = seen("day", ground, 3, 87.0, True)[0]
            self.assertTrue(np.allclose(there[:, 10:], moved[:, :-10]))
            seam = seen("day", ground, 3, WIDE - 128.0, True)[0].astype(float)
            steps = np.abs(np.diff(seam[:110], axis=1)).max((0, 2))  # the sky: the ground may have houses
            self.assertLess(steps[127], 12)
        still = _still()
        panned = dataclasses.replace(still, scenes=((0, dataclasses.replace(still.first, camera="right")),))
        self.assertAlmostEqual(camera_offset(panned, 160), 100.0)
        self.assertEqual(camera_offset(still, 160), 0.0)

    def test_rain_falls_and_snow_falls_slower(self):
        pace = {}
        for sky in ("day", "rain", "snowfall"):
            scene = dataclasses.replace(_still().first, sky=sky)
            frames = render(dataclasses.replace(_still(), scenes=((0, scene),)), 0, 3).astype(int)
            pace[sky] = np.abs(frames[2, :20] - frames[0, :20]).mean()
        self.assertEqual(pace["day"], 0)
        self.assertGreater(pace["snowfall"], 0.1)
        self.assertGreater(pace["rain"], pace["snowfall"])

    def test_a_guest_joins_from_the_edge_at_its_block(self):
        alone = _still().first
        guest = Guest("star", "blue", "medium", "right", "fast")
        story = dataclasses.replace(_still(), scenes=((0, alone), (33, dataclasses.replace(alone, guest=guest))))
        without = dataclasses.replace(_still(), scenes=((0, alone),))
        self.assertTrue(np.array_equal(render(story, 0, 33), render(without, 0, 33)))
        self.assertLess(guest_position(story, 33)[0], -V.SIZES["medium"])
        later = story.joined(60)
        self.assertEqual(later, 33)
        x, y = guest_position(story, 65)
        self.assertAlmostEqual(x, 2 * V.SPEEDS["fast"] - V.SIZES["medium"] - 3)
        changed = np.abs(render(story, 65, 66)[0].astype(int) - render(without, 65, 66)[0]).sum(2) > 40
        rows, columns = np.nonzero(changed)
        self.assertGreater(((np.abs(rows - y) < 26) & (np.abs(columns - x) < 26)).sum(), 200)
        self.assertIn("a blue star", caption(story.last))
        for seed in range(20):
            self.assertIn("star", caption(story.last, random.Random(seed)))

    def test_a_tale_changes_all_along_the_minute_and_never_jumps(self):
        for seed in range(12):
            tale = sample_tale(random.Random(seed), 60)
            starts = [start for start, _ in tale.scenes]
            self.assertGreaterEqual(len(starts), 6)
            self.assertTrue(all(5 <= (b - a) / 16 <= 11 for a, b in itertools.pairwise(starts[1:])))
            for start, scene in tale.scenes[1:]:
                self.assertEqual((start + 3) % 4, 0)
                self.assertNotEqual(scene, tale.at(start - 1)[0])
            ways = [position(tale, f) for f in range(960)]
            for (x0, y0), (x1, y1) in itertools.pairwise(ways):
                dx, dy = abs(x1 - x0), abs(y1 - y0)
                self.assertLess(min(dx, V.WIDTH - dx), 6)
                self.assertLess(min(dy, V.HORIZON + 6 - dy), 6)

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
