"""The bundled model's shape and sampler. What is written here ends up in the folder's JSON files."""

FRAME = (160, 256)  # height, width
FPS = 16

VAE = {
    "base_dim": 16,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
LATENT = (10, 16)  # FRAME / 16
LATENT_CHANNELS = 16

# 40 tokens a latent frame. Heads of 32 keep the state at 6 x 32 x 32 numbers a layer.
LAYERS, HEADS, HEAD_WIDTH = 6, 6, 32
WIDTH = HEADS * HEAD_WIDTH
CAPTION_WIDTH = 128
VOCABULARY = 512  # 150 words of captions as whole pieces, the rest their parts, letters for words never seen
CAPTION_TOKENS = 40

BLOCK = 4  # latent frames: one second of video
WINDOW = 2  # committed blocks that the state keeps: as many as the longest clip that a CPU trains on has, the last not counted

# Levels of the few-step sampler; with shift 1 the level of timestep t is t / 1000.
TIMESTEPS = [1000, 960, 910, 850, 770, 660, 500, 260]
# Fewer of them, for requests that would rather have a simpler picture than a late one.
STEP_LADDER = [[1000, 960, 910, 770, 500], [1000, 910, 660]]


# For people: what the training clips show (`tools/clips`, level 0), and captions as theirs.
ABOUT = (
    "One red, orange, yellow, green, blue, purple, pink or white ball, star, heart, balloon, car, boat, fish or rocket "
    "that moves left, right, up or down, slowly or quickly, over the meadow, the desert, the sea or the snow, "
    "by day, at sunset, at night or in the fog."
)
EXAMPLES = [
    "a red ball rises slowly over the sea in the fog",
    "a yellow balloon floats right over the meadow on a sunny day",
    "a blue boat sails left over the sea at sunset",
    "an orange rocket flies up quickly over the snow under a blue sky",
    "a pink star moves left slowly over the desert at sunset",
    "a green fish swims right over the water by day",
]


def block_lengths(latents):
    """Latent frames cut into blocks; the first takes the remainder (as the engine does)."""
    if latents < BLOCK:
        return [latents]
    first = BLOCK + latents % BLOCK
    return [first] + [BLOCK] * ((latents - first) // BLOCK)


def pipeline_settings():
    """What `longtake.json` says."""
    return {
        "family": "longtake",
        "sampler": "few_step",
        "timesteps": TIMESTEPS,
        "step_ladder": STEP_LADDER,
        "shift": 1.0,
        "block_latent_frames": BLOCK,
        "state_window_blocks": WINDOW,
        "first_image": "held",  # as training holds them
        "prompt_prefix": "",
        "lower_case": True,
        "caption_tokens": CAPTION_TOKENS,
        "fps": FPS,
        "sizes": [f"{FRAME[1]}x{FRAME[0]}"],
        "max_latent_frames": 1024,
        "prompt_switch": "recompute_last",
        "about": ABOUT,
        "examples": EXAMPLES,
    }
