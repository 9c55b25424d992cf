"""Says a scene in words, in several ways and at several levels of detail. All lower case.

What a caption leaves out may be anything; what it names is what the clip shows.
"""

_MOVES = {
    "left": ("moves left", "goes to the left", "drifts left", "travels left", "moves to the left"),
    "right": ("moves right", "goes to the right", "drifts right", "travels right", "moves to the right"),
    "up": ("rises", "goes up", "moves up", "floats up", "climbs up"),
    "down": ("falls", "goes down", "moves down", "floats down", "sinks down"),
}
_OWN_VERBS = {"car": "drives", "boat": "sails", "fish": "swims", "rocket": "flies", "bird": "flies", "balloon": "floats"}
_SKIES = {
    "day": ("under a blue sky", "on a sunny day", "by day", "in the daytime"),
    "sunset": ("at sunset", "under a sunset sky", "in the evening", "as the sun sets"),
    "night": ("at night", "under a night sky", "under the stars", "in the dark of night"),
    "fog": ("in the fog", "under a foggy sky", "on a foggy day", "in thick fog"),
    "rain": ("in the rain", "under a rainy sky", "on a rainy day", "as rain falls"),
    "snowfall": ("in falling snow", "as snow falls", "during a snowfall", "on a snowy day"),
}
_GROUNDS = {
    "meadow": ("over the meadow", "above a green meadow", "above the meadow", "over green hills"),
    "desert": ("over the desert", "above the desert", "above the sand dunes", "over a sandy desert"),
    "sea": ("over the sea", "above the sea", "above the water", "over the ocean"),
    "snow": ("over the snow", "above the snow", "above snowy hills", "over a snowy land"),
    "city": ("over the city", "above the city", "above the rooftops", "over a little town"),
}
_SIZES = {"small": ("small", "little", "tiny"), "medium": ("", "medium"), "big": ("big", "large", "huge")}
_SPEEDS = {"slow": ("slowly", "gently"), "normal": ("", "steadily"), "fast": ("quickly", "fast")}
_NAMED = 0.85  # share of captions that tell the size, or the speed: what is often left out is not learned

_CAMERA = ("the camera pans {}", "the camera moves {}", "the view moves {}")
_JOINS = ("and {} joins", "and {} joins it", "and then {} appears", "with {} passing by")


def _also(scene, rng):
    """Camera and guest: the parts that follow the main sentence."""
    text = ""
    if scene.guest is not None:
        guest = scene.guest
        words = (guest.colour, guest.kind)
        if rng is not None and rng.random() < 0.4:
            words = (rng.choice(_SIZES[guest.size]), *words)
        text += ", " + (rng.choice(_JOINS) if rng else _JOINS[0]).format(_article(" ".join(w for w in words if w)))
    if scene.camera != "still" and (rng is None or rng.random() < 0.8):
        text += ", " + (rng.choice(_CAMERA) if rng else _CAMERA[0]).format(scene.camera)
    return text


def _article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene, rng=None):
    """One caption of a scene. Without `rng`: the plainest one, which names everything that is not medium."""
    if rng is None:
        size, speed = ("" if v in ("medium", "normal") else v for v in (scene.size, scene.speed))
        speed = {"slow": "slowly", "fast": "quickly"}.get(speed, "")
        noun = _article(" ".join(w for w in (size, scene.colour, scene.kind) if w))
        words = (noun, _MOVES[scene.direction][0], speed, _GROUNDS[scene.ground][0], _SKIES[scene.sky][0])
        return " ".join(w for w in words if w) + _also(scene, None)
    size = rng.choice(_SIZES[scene.size]) if rng.random() < _NAMED else ""
    speed = rng.choice(_SPEEDS[scene.speed]) if rng.random() < _NAMED else ""
    noun = _article(" ".join(w for w in (size, scene.colour, scene.kind) if w))
    move = rng.choice(_MOVES[scene.direction])
    own = _OWN_VERBS.get(scene.kind)
    if own and rng.random() < 0.35:
        move = own + {"left": " left", "right": " right", "up": " up", "down": " down"}[scene.direction]
    ground = rng.choice(_GROUNDS[scene.ground]) if rng.random() < 0.92 else ""
    sky = rng.choice(_SKIES[scene.sky]) if rng.random() < 0.92 else ""
    shape = rng.random()
    if shape < 0.60:
        words = (noun, move, speed, ground, sky)
    elif shape < 0.75 and sky:
        words = (sky + ",", noun, move, speed, ground)
    elif shape < 0.85 and ground:
        words = (ground + ",", noun, move, speed, sky)
    else:
        words = (noun, speed, move, sky, ground)
    text = " ".join(w for w in words if w) + _also(scene, rng)
    return text + "." if rng.random() < 0.3 else text
