"""Videos are made and looked at once, several at a time, and anew when what they depend on changed. No video is made."""

import dataclasses
import json
import os
import tempfile
import threading
import unittest

from tools.clips import Story
from tools.clips.scene import Guest
from tools.eval import cases, measure
from tools.eval.table import Table, switch_followed
from tools.eval.work import Work, digest


class _Maker:
    """Writes the prompt; knows how many it was asked for at once.

    together: a barrier that so many must have come to before any of them goes on.
    """

    name, title = "fake", "fake"

    def __init__(self, fail=None, together=None):
        self.together = together
        self.made, self.fail, self.lock, self.busy, self.most = [], fail, threading.Lock(), 0, 0

    def make(self, path, case):
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
            self.made.append(case.name)
        if self.together is not None:
            self.together.wait(timeout=600)
        with self.lock:
            self.busy -= 1
        with open(path, "w") as file:
            file.write(case.prompt)
        if case.name == self.fail:
            raise RuntimeError("the maker broke")
        return 2.0


def _look(path, case):
    with open(path) as file:
        return {"prompt": file.read()}


class TestWork(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.cases = cases.plain(4, 1, 11) + cases.switched(2)

    def _all(self, maker, source="a", looker="b", alone=0):
        return Work(maker, self.folder, source, looker).all(self.cases, _look, 3, alone)

    def test_results_come_in_order_and_nothing_is_made_twice(self):
        maker = _Maker(together=threading.Barrier(3))  # of six cases
        out = self._all(maker)
        self.assertEqual([n["found"]["prompt"] for n in out], [c.prompt for c in self.cases])
        self.assertEqual(maker.most, 3)
        again = _Maker()
        self.assertEqual(self._all(again), out)
        self.assertEqual(again.made, [])

    def test_alone_means_alone(self):
        maker = _Maker()
        self._all(maker, alone=len(self.cases))
        self.assertEqual((maker.most, len(maker.made)), (1, 6))

    def test_a_broken_run_goes_on_where_it_was(self):
        with self.assertRaisesRegex(RuntimeError, "broke"):
            self._all(_Maker(fail=self.cases[1].name), alone=6)
        maker = _Maker()
        self._all(maker)
        self.assertEqual(sorted(maker.made), sorted(c.name for c in self.cases[1:]))
        self.assertFalse([name for name in os.listdir(self.folder) if ".part" in name])

    def test_another_model_makes_all_anew_and_other_eyes_only_look(self):
        self._all(_Maker())
        maker = _Maker()
        self.assertEqual({n["looker"] for n in self._all(maker, looker="c")}, {"c"})
        self.assertEqual(maker.made, [])
        self._all(maker, source="d")
        self.assertEqual(len(maker.made), 6)

    def test_another_prompt_is_made_anew(self):
        self._all(_Maker())
        self.cases = cases.plain(4, 1, 11, "other") + self.cases[4:]
        maker = _Maker()
        self._all(maker)
        self.assertEqual(sorted(maker.made), sorted(c.name for c in self.cases[:4]))

    def test_digest_knows_files_and_folders(self):
        path = os.path.join(self.folder, "x.json")
        with open(path, "w") as file:
            json.dump(1, file)
        before = digest([self.folder]), digest([path])
        self.assertEqual(before, (digest([self.folder]), digest([path, path + ".none"])))
        with open(os.path.join(self.folder, "README.md"), "w") as file:
            file.write("nothing that a video depends on")
        self.assertEqual(before, (digest([self.folder]), digest([path])))
        with open(path, "w") as file:
            json.dump(2, file)
        self.assertFalse({digest([self.folder]), digest([path])} & set(before))


class TestCases(unittest.TestCase):
    def test_prompts_differ_and_a_switch_says_what_changed(self):
        plain = cases.plain(60, 5, 11)
        self.assertEqual([c.seconds for c in plain].count(61), 5)
        self.assertGreater(len({c.prompt for c in plain}), 55)
        for case in cases.switched(20):
            self.assertNotEqual(case.prompt, case.switch[1])
            self.assertEqual(case.story.switch, 49)

    def test_second_from_which_a_switch_is_judged(self):
        # Blocks of 4 latent frames begin at frames 0, 17, 33, 49, 65: the switch at the fourth, judged from the fifth on.
        self.assertEqual(cases.followed_from(4, 16.0), 65 / 16)


class TestTable(unittest.TestCase):
    def test_shares_and_chance(self):
        table = Table()
        for case in cases.plain(40, 0, 11):
            scene = case.story.first
            table.add(1, scene, scene)
        self.assertEqual(set(table.shares()[1].values()), {1.0})
        chance = table.shares(shuffled=True)[1]
        self.assertLess(max(chance["kind"], chance["colour"], chance["background"]), 0.4)
        self.assertEqual(table.worst()[0], 1.0)
        two = Table()
        for colour in ("red", "blue"):
            two.add(1, dataclasses.replace(scene, colour=colour), dataclasses.replace(scene, colour=colour))
        self.assertEqual(two.shares(shuffled=True)[1]["colour"], 0.0)

    def test_a_switch_is_followed_where_all_that_changed_is_seen(self):
        scene = cases.plain(1, 0, 11)[0].story.first
        story = Story(((0, scene), (49, dataclasses.replace(scene, sky="fog" if scene.sky != "fog" else "night"))), 0, 0, 1, 0)
        seen = measure.Seen(colour=scene.colour, kind=scene.kind, sky=scene.sky)
        self.assertFalse(switch_followed(seen, story))
        self.assertTrue(switch_followed(dataclasses.replace(seen, sky=story.last.sky), story))
        guest = Guest("star", "blue", "medium", "left", "fast")
        joined = Story(((0, scene), (49, dataclasses.replace(scene, guest=guest))), 0, 0, 1, 0)
        self.assertFalse(switch_followed(seen, joined))
        self.assertFalse(switch_followed(dataclasses.replace(seen, guest="red star"), joined))
        self.assertTrue(switch_followed(dataclasses.replace(seen, guest="blue star"), joined))


if __name__ == "__main__":
    unittest.main()
