"""Writes the model folders that scripts/gpu.sh measures, with random weights.

    python -m bench.cuda_models --out DIR [--tiny] [--clip-steps 50]

`stream` is the 2B model block-causal at 480p, `clip` the same weights bidirectional: 81 frames, 50 steps, guidance 6.
The text encoder has 4 of its 26 layers and an eighth of its vocabulary: it runs once a prompt, and 4.8 GB less are written
and loaded. --tiny: the same two, a thousand times smaller, for rehearsals. Needs numpy only.
"""

import argparse
import json
from pathlib import Path

from bench.models import _TINY_TEXT, _TINY_TRANSFORMER, _TINY_VAE, TOKENIZER
from tools.make_model import PARTS, write_model

TEXT = {"num_hidden_layers": 4, "vocab_size": 32768}
CLIP = {
    "family": "longtake",
    "sampler": "flow_dpm_solver",
    "shift": 8.0,
    "caption_tokens": 300,
    "fps": 16,
    "guidance": 6.0,
    "steps": 50,
}
TINY_CHANGES = {
    "transformer": {**_TINY_TRANSFORMER, "caption_channels": 32},
    "vae": _TINY_VAE,
    "text_encoder": {**_TINY_TEXT, "hidden_size": 32},
}
TINY_STREAM = {
    "timesteps": [1000, 500],
    "block_latent_frames": 2,
    "caption_tokens": 16,
    "sizes": ["32x32"],
    "max_latent_frames": 6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--clip-steps", type=int, default=CLIP["steps"], help="fewer than 50 where time is short")
    arguments = parser.parse_args()
    stream, clip = arguments.out / "stream", arguments.out / "clip"
    if not (stream / "model_index.json").exists():  # written last: the folder is complete
        changes, settings = (TINY_CHANGES, TINY_STREAM) if arguments.tiny else ({"text_encoder": TEXT}, {})
        write_model(stream, list(PARTS), changes, settings=settings, tokenizer=TOKENIZER)
    clip.mkdir(exist_ok=True)
    for part in [*PARTS, "tokenizer"]:
        if not (clip / part).exists():
            (clip / part).symlink_to((stream / part).resolve())
    settings = {**CLIP, "steps": arguments.clip_steps, "sizes": ["832x480"], "max_latent_frames": 21}
    if arguments.tiny:
        settings |= {"steps": 2, "caption_tokens": 16, "sizes": ["32x32"], "max_latent_frames": 2}
    (clip / "longtake.json").write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    main()
