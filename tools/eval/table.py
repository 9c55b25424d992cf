"""Shares of right answers, for the prompts and, as the other control, for shuffled ones."""

import dataclasses
import random

import numpy as np

PARTS = ("colour", "kind", "direction", "background", "size", "speed")


def right(seen, scene):
    """{part: whether it was seen as asked}."""
    out = {k: getattr(seen, k) == getattr(scene, k) for k in PARTS if k != "background"}
    out["background"] = seen.sky == scene.sky and seen.ground == scene.ground
    return out


def switch_followed(seen, story):
    """What the second prompt changed is seen as asked."""
    first, second = dataclasses.asdict(story.first), dataclasses.asdict(story.last)
    return all(getattr(seen, k) == second[k] for k in first if first[k] != second[k])


class Table:
    """What was seen, by second."""

    def __init__(self):
        self.seen = {}  # second → [(Seen, scene)]

    def add(self, second, seen, scene):
        self.seen.setdefault(second, []).append((seen, scene))

    def shares(self, shuffled=False):
        """{second: {part: share}}."""
        out = {}
        for second, pairs in sorted(self.seen.items()):
            scenes = [s for _, s in pairs]
            if shuffled:
                scenes = random.Random(1).sample(scenes, len(scenes))
            rights = [right(seen, scene) for (seen, _), scene in zip(pairs, scenes, strict=True)]
            out[second] = {k: float(np.mean([r[k] for r in rights])) for k in PARTS}
        return out

    def worst(self):
        """(share, part, second) of the part that was seen worst."""
        return min((share, part, second) for second, row in self.shares().items() for part, share in row.items())

    def show(self, title):
        for name, shuffled in ((title, False), ("shuffled prompts (chance)", True)):
            print(f"\n{name:28s}" + "".join(f"{k:>12s}" for k in PARTS) + "       videos")
            for second, row in self.shares(shuffled).items():
                print(f"  at {second:4g} s{'':18s}" + "".join(f"{row[k]:12.3f}" for k in PARTS) + f"{len(self.seen[second]):13d}")
