"""Shares of right answers, for the prompts and, as the other control, for shuffled ones."""

import dataclasses
import random

import numpy as np

from tools.clips import vocabulary as V

PARTS = ("colour", "kind", "direction", "background", "size", "speed")
_ATTRIBUTES = ("colour", "kind", "direction", "size", "speed", "camera")


def right(seen, scene):
    """{part: whether it was seen as asked}."""
    out = {k: getattr(seen, k) == getattr(scene, k) for k in _ATTRIBUTES}
    out["background"] = seen.sky == scene.sky and seen.ground == scene.ground
    return out


def switch_followed(seen, story):
    """What the second prompt changed is seen as asked."""
    scene, wanted = story.last, dataclasses.asdict(story.last)
    changed = [k for k, v in dataclasses.asdict(story.first).items() if v != wanted[k]]
    if "guest" not in changed:
        return all(getattr(seen, k) == wanted[k] for k in changed)
    guest = f"{scene.guest.colour} {scene.guest.kind}" if scene.guest else None
    # Which of two objects is the guest cannot be seen.
    return {f"{seen.colour} {seen.kind}", seen.guest} == {f"{scene.colour} {scene.kind}", guest}


class Table:
    """What was seen, by second. `level` of the clips: where the camera goes over the scene, that is a part too."""

    def __init__(self, level=V.BUNDLED):
        self.parts = PARTS + (("camera",) if level > 1 else ())
        self.seen = {}  # second → [(Seen, scene)]

    def add(self, second, seen, scene):
        self.seen.setdefault(second, []).append((seen, scene))

    def shares(self, shuffled=False):
        """{second: {part: share}}."""
        out = {}
        for second, pairs in sorted(self.seen.items()):
            scenes = [s for _, s in pairs]
            if shuffled:
                # Each video with some other one's prompt, never its own.
                order = random.Random(1).sample(range(len(scenes)), len(scenes))
                other = dict(zip(order, order[1:] + order[:1], strict=True))
                scenes = [scenes[other[i]] for i in range(len(scenes))]
            rights = [right(seen, scene) for (seen, _), scene in zip(pairs, scenes, strict=True)]
            out[second] = {k: float(np.mean([r[k] for r in rights])) for k in self.parts}
        return out

    def worst(self):
        """(share, part, second) of the part that was seen worst."""
        return min((share, part, second) for second, row in self.shares().items() for part, share in row.items())

    def show(self, title):
        for name, shuffled in ((title, False), ("shuffled prompts (chance)", True)):
            print(f"\n{name:28s}" + "".join(f"{k:>12s}" for k in self.parts) + "       videos")
            for second, row in self.shares(shuffled).items():
                print(
                    f"  at {second:4g} s{'':18s}"
                    + "".join(f"{row[k]:12.3f}" for k in self.parts)
                    + f"{len(self.seen[second]):13d}"
                )
