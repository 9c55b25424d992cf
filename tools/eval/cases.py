"""Which videos are asked for: prompts held out of training, and the stories that they tell."""

import dataclasses
import random

from tools.clips import Story, caption, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import block_start_frame

SWITCH_BLOCK = 3
_SWITCH_SECONDS = 9


@dataclasses.dataclass(frozen=True)
class Case:
    """One video. `switch`: (block from which on the second prompt rules, that prompt) or None."""

    name: str
    story: Story
    prompt: str
    seconds: float
    seed: int
    switch: tuple | None = None

    def told(self):
        """What a maker gets to know, as plain values."""
        return {k: getattr(self, k) for k in ("prompt", "seconds", "seed", "switch")}


def _prompt(scene, number):
    """Every attribute is named, in one of the training's wordings, so that it can be asked for."""
    return caption(scene) if number % 2 == 0 else caption(scene).replace(" under a blue sky", " on a sunny day")


def plain(count, long, short_seconds, series="eval", level=V.BUNDLED):
    """`count` cases of one prompt; the first `long` of them are a minute long. Another `series`: other prompts.

    `level` says what they are about, as in `vocabulary.LEVELS`.
    """
    out = []
    for i in range(count):
        story = sample_story(random.Random(f"{series}/{i}"), level=V.LEVELS[level], held=True)
        seconds = 61 if i < long else short_seconds
        out.append(Case(f"{i:03d}_{seconds:g}", story, _prompt(story.first, i), seconds, i))
    return out


def switched(count, series="switch", level=V.BUNDLED):
    """`count` cases whose prompt changes at SWITCH_BLOCK."""
    out = []
    for i in range(count):
        rng = random.Random(f"{series}/{i}")
        story = sample_story(rng, switch_block=SWITCH_BLOCK, level=V.LEVELS[level], held=True)
        change = SWITCH_BLOCK, _prompt(story.last, i)
        out.append(Case(f"switch_{i:03d}", story, _prompt(story.first, i), _SWITCH_SECONDS, 1000 + i, change))
    return out


def followed_from(block_latents, fps):
    """Second from which on a changed prompt is to be seen: one block after the change, which it has to turn in."""
    return block_start_frame(SWITCH_BLOCK + 1, block_latents + 1, block_latents) / fps
