"""What happens in a clip: a scene, and a story that changes one thing of it at a block border."""

import dataclasses
import math
import zlib

from tools.clips import vocabulary as V


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a caption tells. Everything that it does not tell is in `Story`."""

    kind: str
    colour: str
    size: str
    direction: str
    speed: str
    sky: str
    ground: str


@dataclasses.dataclass(frozen=True)
class Story:
    """A scene and, from frame `switch` on (None: never), a second one.

    `x`, `y`: the object's centre at frame 0, pixels. `look`: seed of hills, clouds and stars.
    `bob`: phase of the object's slow sway, radians.
    """

    first: Scene
    second: Scene
    switch: int | None
    x: float
    y: float
    look: int
    bob: float

    def at(self, frame):
        """The scene that rules at a frame."""
        return self.first if self.switch is None or frame < self.switch else self.second


def held_out(scene):
    """True for one combination in eight: these are never drawn in training and are what is evaluated."""
    key = f"{scene.kind}/{scene.colour}/{scene.direction}/{scene.sky}/{scene.ground}"
    return zlib.crc32(key.encode()) % 8 == 0


def sample_scene(rng, level=V.LEVELS[1], held=False):
    """Draws a scene that is (`held`) or is not held out. `rng`: random.Random."""
    while True:
        scene = Scene(
            kind=rng.choice(level.kinds),
            colour=rng.choice(list(V.COLOURS)),
            size=rng.choice(level.sizes),
            direction=rng.choice(list(V.DIRECTIONS)),
            speed=rng.choice(list(V.SPEEDS)),
            sky=rng.choice(list(V.SKIES)),
            ground=rng.choice(list(V.GROUNDS)),
        )
        if held_out(scene) == held:
            return scene


def changed(rng, scene, held=False):
    """The same scene with another sky, direction or colour, as a prompt switch would ask for; None if none fits `held`."""
    options = {"sky": V.SKIES, "direction": V.DIRECTIONS, "colour": V.COLOURS}
    found = []
    for what, values in options.items():
        others = [dataclasses.replace(scene, **{what: v}) for v in values if v != getattr(scene, what)]
        fitting = [o for o in others if held_out(o) == held]
        found += [rng.choice(fitting)] if fitting else []
    return rng.choice(found) if found else None


def block_start_frame(block, first_latents=5, latents=4):
    """First frame of a block: latent 0 is one frame, each further latent four."""
    if block == 0:
        return 0
    return 4 * (first_latents + latents * (block - 1)) - 3


def _moved(scene, frames):
    dx, dy = V.DIRECTIONS[scene.direction]
    step = V.SPEEDS[scene.speed] / V.FPS * frames
    return dx * step, dy * step


def sample_story(rng, switch_block=None, level=V.LEVELS[1], held=False):
    """A scene somewhere in the frame; with `switch_block`, changed from that block on."""
    second = None
    while second is None:
        scene = sample_scene(rng, level, held)
        second = scene if switch_block is None else changed(rng, scene, held)
    radius = V.SIZES[scene.size]
    switch = None if switch_block is None else block_start_frame(switch_block)
    # Wholly in sight at the start or, where the direction may turn, at the switch: an object that turned while
    # half of it was out of the frame would stay cut in two.
    dx, dy = _moved(scene, switch or 0)
    return Story(
        first=scene,
        second=second,
        switch=switch,
        x=rng.uniform(radius + 4, V.WIDTH - radius - 4) - dx,
        y=rng.uniform(radius + 4, V.HORIZON - 0.5 * radius) - dy,
        look=rng.randrange(1 << 30 if level.looks is None else level.looks),
        bob=rng.uniform(0, 6.283),
    )


# An object that leaves the frame comes back on the other side at once, so that it is never wholly out of
# sight: across, the period is the frame's width; up and down it is the sky's height, because the ground hides it.
PERIOD_X = float(V.WIDTH)
PERIOD_Y = V.HORIZON + 6.0


def position(story, frame):
    """The object's centre at a frame, in pixels, inside one period."""
    first = frame if story.switch is None else min(frame, story.switch)
    x0, y0 = _moved(story.first, first)
    x1, y1 = _moved(story.second, frame - first)
    sway = 2.5 * math.sin(story.bob + 2 * math.pi * frame / V.FPS / 3.0)
    across = story.at(frame).direction in ("left", "right")
    x = story.x + x0 + x1 + (0.0 if across else sway)
    y = story.y + y0 + y1 + (sway if across else 0.0)
    return x % PERIOD_X, y % PERIOD_Y
