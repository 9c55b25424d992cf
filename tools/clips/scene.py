"""What happens in a clip: scenes, and a story that goes from one to the next at block borders."""

import dataclasses
import math
import zlib

from tools.clips import vocabulary as V


@dataclasses.dataclass(frozen=True)
class Guest:
    """A second object that comes in from the frame's edge and crosses it again and again."""

    kind: str
    colour: str
    size: str
    direction: str
    speed: str


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
    camera: str = "still"
    guest: Guest | None = None


@dataclasses.dataclass(frozen=True)
class Story:
    """Scenes, each with the frame from which on it rules; the first from 0.

    `x`, `y`: the object's centre at frame 0, pixels. `look`: seed of hills, clouds and stars.
    `bob`: phase of the object's slow sway, radians; `sway`: how far it goes, pixels. `stands`: frames for which it stands still
    before it sets out, in stories of one scene.
    """

    scenes: tuple
    x: float
    y: float
    look: int
    bob: float
    sway: float = 2.5
    stands: int = 0

    @property
    def first(self):
        return self.scenes[0][1]

    @property
    def last(self):
        return self.scenes[-1][1]

    @property
    def switch(self):
        """Frame of the first change; None without one."""
        return self.scenes[1][0] if len(self.scenes) > 1 else None

    def at(self, frame):
        """(the scene that rules at a frame, its first frame, the scene before it or None)."""
        i = max(i for i, (start, _) in enumerate(self.scenes) if start <= frame)
        start, scene = self.scenes[i]
        return scene, start, self.scenes[i - 1][1] if i else None

    def joined(self, frame):
        """Frame at which the guest of that moment came in."""
        guest = self.at(frame)[0].guest
        join = frame
        for start, scene in reversed([s for s in self.scenes if s[0] <= frame]):
            if scene.guest != guest:
                break
            join = start
        return join


def held_out(scene):
    """True for one combination in eight: these are never drawn in training and are what is evaluated."""
    key = f"{scene.kind}/{scene.colour}/{scene.direction}/{scene.sky}/{scene.ground}"
    return zlib.crc32(key.encode()) % 8 == 0


def sample_scene(rng, level=V.LEVELS[V.BUNDLED], held=False):
    """Draws a scene that is (`held`) or is not held out. `rng`: random.Random."""
    while True:
        scene = Scene(
            kind=rng.choice(level.kinds),
            colour=rng.choice(list(V.COLOURS)),
            size=rng.choice(level.sizes),
            direction=rng.choice(list(V.DIRECTIONS)),
            speed=rng.choice(list(V.SPEEDS)),
            sky=rng.choice(level.skies),
            ground=rng.choice(level.grounds),
        )
        if level.pans and rng.random() < level.pans:
            scene = dataclasses.replace(scene, camera=rng.choice(("left", "right")))
        if held_out(scene) == held:
            return scene


def _guest(rng, level, scene):
    """Somebody who cannot be taken for the object."""
    return Guest(
        kind=rng.choice([k for k in level.kinds if k != scene.kind]),
        colour=rng.choice([c for c in V.COLOURS if c != scene.colour]),
        size=rng.choice([s for s in level.sizes if s != "big"]),
        direction=rng.choice(("left", "right")),
        speed=rng.choice(list(V.SPEEDS)),
    )


def changed(rng, scene, level=V.LEVELS[V.BUNDLED], held=False):
    """The same scene with one thing changed, as a prompt switch would ask for; None if nothing fits `held`."""
    options = {"sky": level.skies, "direction": V.DIRECTIONS, "colour": V.COLOURS}
    found = []
    for what, values in options.items():
        others = [dataclasses.replace(scene, **{what: v}) for v in values if v != getattr(scene, what)]
        fitting = [o for o in others if held_out(o) == held]
        found += [rng.choice(fitting)] if fitting else []
    if level.guests:
        found.append(dataclasses.replace(scene, guest=None if scene.guest else _guest(rng, level, scene)))
    if level.pans:
        found.append(dataclasses.replace(scene, camera="still" if scene.camera != "still" else rng.choice(("left", "right"))))
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


def sample_story(rng, switch_block=None, level=V.LEVELS[V.BUNDLED], held=False, later=False):
    """A scene that begins; with `switch_block`, changed from that block on. `later`: as it is some seconds afterwards."""
    switch = None if switch_block is None else block_start_frame(switch_block)
    while True:
        scene = sample_scene(rng, level, held)
        second = scene if switch is None else changed(rng, scene, level, held)
        if second is None:
            continue
        story = Story(
            scenes=((0, scene),) if switch is None else ((0, scene), (switch, second)),
            **_start(rng, scene, level, later),
            look=rng.randrange(1 << 30 if level.looks is None else level.looks),
            bob=rng.uniform(0, 6.283),
            sway=0.0 if level.lanes else Story.sway,
        )
        # An object that turned while half of it was out of the frame would stay cut in two.
        if scene.direction == second.direction or _in_sight(scene, *position(story, switch)):
            return story


def _in_sight(scene, x, y):
    """Whether the object is wholly inside the frame, and the ground hides little of it."""
    return all(low <= v <= high for v, (low, high) in zip((x, y), _room(scene), strict=True))


def _room(scene):
    """(lowest, highest) x and y of the centre of an object in sight."""
    radius = V.SIZES[scene.size]
    return (radius + 4, V.WIDTH - radius - 4), (radius + 4, V.HORIZON - 0.5 * radius)


def _start(rng, scene, level, later):
    """{x, y}: where an object is at frame 0. In lanes it begins on the side it comes from, or anywhere on its way (`later`)."""
    out = {}
    periods = PERIOD_X, PERIOD_Y
    for axis, (low, high), way, period in zip("xy", _room(scene), V.DIRECTIONS[scene.direction], periods, strict=True):
        places = range(32 * math.ceil(low / 32), math.floor(high) + 1, 32)
        if way and later:
            # Half out of the frame too: slow ones that had never been seen to come back were lost there (after 15 s).
            places = range(0, int(period), 4)
        elif way:
            places = places[:1] if way > 0 else places[-1:]
        out[axis] = rng.choice(places) if level.lanes else rng.uniform(low, high)
    return out


def sample_tale(rng, seconds, level=V.LEVELS[2], held=False):
    """A story in which something changes every few seconds: what a minute should be made of.

    Directions only turn across (left to right and back) or only up and down, so that no turn cuts the object in two.
    """
    story = sample_story(rng, None, level, held)
    scenes, block = list(story.scenes), 0
    while True:
        block += rng.randrange(5, 11)
        start = block_start_frame(block)
        if start >= seconds * V.FPS:
            return dataclasses.replace(story, scenes=tuple(scenes))
        scene = None
        while scene is None:
            scene = changed(rng, scenes[-1][1], level, held)
            if scene and scene.direction != scenes[-1][1].direction:
                scene = dataclasses.replace(scene, direction=V.OPPOSITE[scenes[-1][1].direction])
                scene = scene if held_out(scene) == held else None
        scenes.append((start, scene))


# An object that leaves the frame comes back on the other side at once, so that it is never wholly out of
# sight: across, the period is the frame's width; up and down it is the sky's height, because the ground hides it.
PERIOD_X = float(V.WIDTH)
PERIOD_Y = V.HORIZON + 6.0


def _pieces(story, frame):
    """(scene, frames of it until `frame`) of all scenes up to there."""
    starts = [s for s, _ in story.scenes] + [math.inf]
    for (start, scene), end in zip(story.scenes, starts[1:], strict=True):
        if start > frame:
            break
        yield scene, min(frame, end) - start


def position(story, frame):
    """The object's centre at a frame, in pixels, inside one period."""
    x, y = story.x, story.y
    for scene, frames in _pieces(story, max(0, frame - story.stands)):
        dx, dy = _moved(scene, frames)
        x, y = x + dx, y + dy
    sway = story.sway * math.sin(story.bob + 2 * math.pi * frame / V.FPS / 3.0)
    if story.at(frame)[0].direction in ("left", "right"):
        y += sway
    else:
        x += sway
    return x % PERIOD_X, y % PERIOD_Y


def guest_position(story, frame):
    """The guest's centre at a frame. It enters and leaves wholly, at the height that `look` gives it."""
    guest = story.at(frame)[0].guest
    radius = V.SIZES[guest.size] + 3
    period = V.WIDTH + 2 * radius
    way = V.SPEEDS[guest.speed] / V.FPS * (frame - story.joined(frame)) % period
    y = radius + 4 + (story.look % 997) / 997 * (V.HORIZON - 2.2 * radius)
    return (way - radius if guest.direction == "right" else V.WIDTH + radius - way), y


def camera_offset(story, frame):
    """How far the camera has gone to the right, pixels of the wide background."""
    return sum(V.PANS[scene.camera] / V.FPS * frames for scene, frames in _pieces(story, frame))
