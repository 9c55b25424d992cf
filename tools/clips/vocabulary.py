"""What a scene can show. Every list may grow; nothing else depends on its length.

Colours are RGB in 0…1. Distances are pixels of a frame 160 high, speeds pixels a second.
"""

import dataclasses

HEIGHT, WIDTH, FPS = 160, 256, 16

COLOURS = {
    "red": (0.90, 0.14, 0.14),
    "orange": (0.98, 0.53, 0.06),
    "yellow": (0.99, 0.87, 0.13),
    "green": (0.13, 0.68, 0.25),
    "blue": (0.13, 0.33, 0.90),
    "purple": (0.55, 0.20, 0.76),
    "pink": (0.99, 0.50, 0.74),
    "white": (0.97, 0.97, 0.97),
}

# The first eight are drawn in training; the rest wait until the model holds these (CORE_KINDS).
KINDS = ("ball", "star", "heart", "balloon", "car", "boat", "fish", "rocket", "bird", "house", "tree", "moon")
CORE_KINDS = KINDS[:8]

# Half of an object's larger extent. A token of the bundled model covers 32 pixels.
SIZES = {"small": 18.0, "medium": 28.0, "big": 34.0}

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
SPEEDS = {"slow": 16.0, "normal": 32.0, "fast": 48.0}

# Top and bottom of the sky's gradient, and how it tints the ground: multiply, then blend towards the haze.
SKIES = {
    "day": ((0.36, 0.68, 0.97), (0.80, 0.93, 1.00), 1.00, 0.00),
    "sunset": ((0.60, 0.44, 0.66), (1.00, 0.80, 0.58), 0.88, 0.10),
    "night": ((0.08, 0.11, 0.30), (0.19, 0.25, 0.46), 0.58, 0.05),
    "fog": ((0.66, 0.69, 0.72), (0.86, 0.88, 0.89), 0.95, 0.38),
    "rain": ((0.36, 0.41, 0.49), (0.52, 0.57, 0.64), 0.72, 0.15),
    "snowfall": ((0.60, 0.66, 0.78), (0.80, 0.84, 0.92), 0.90, 0.20),
}
CORE_SKIES = ("day", "sunset", "night", "fog")
DARK_SKIES = ("night",)  # before these a dark outline is not seen: it is a light one

# Near and far hills; the sea has a flat horizon instead.
GROUNDS = {
    "meadow": ((0.30, 0.66, 0.24), (0.45, 0.76, 0.38)),
    "desert": ((0.87, 0.70, 0.38), (0.93, 0.80, 0.54)),
    "sea": ((0.06, 0.36, 0.62), (0.12, 0.47, 0.72)),
    "snow": ((0.95, 0.97, 1.00), (0.80, 0.87, 0.95)),
    "city": ((0.60, 0.32, 0.45), (0.50, 0.40, 0.58)),
}
CORE_GROUNDS = ("meadow", "desert", "sea", "snow")

# The camera's way over a scene that is twice as wide as the frame, pixels a second.
PANS = {"still": 0.0, "left": -10.0, "right": 10.0}
HORIZON = 122.0


@dataclasses.dataclass(frozen=True)
class Level:
    """How much the clips hold. Training begins with few and simple ones and widens as quality allows.

    `looks`: how many sets of hills, clouds and stars there are (None: a new one each clip). `changes`: share of clips in
    which something changes at a block border; where `guests`, a second object may join then. `pans`: share of scenes
    over which the camera moves. `lanes`: objects keep to lanes that are a token (32 pixels) apart, begin at one place
    on the side that they come from and do not sway: far fewer places to learn, which a viewer does not notice.
    """

    kinds: tuple = CORE_KINDS
    sizes: tuple = tuple(SIZES)
    skies: tuple = CORE_SKIES
    grounds: tuple = CORE_GROUNDS
    looks: int | None = None
    changes: float = 0.35
    guests: bool = False
    pans: float = 0.0
    lanes: bool = False


LEVELS = (
    Level(sizes=("medium",), looks=2, changes=0.25, lanes=True),
    Level(),
    Level(kinds=KINDS, skies=tuple(SKIES), grounds=tuple(GROUNDS), changes=0.5, guests=True, pans=0.25),
)
BUNDLED = 0  # the level that the bundled model is trained on and judged by
