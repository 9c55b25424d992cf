"""Writes the model folders that scripts/bench.sh measures: the part in question at its real width, the others tiny.

python -m bench.models --out DIR

Parts that are not measured are small so that loading is quick and the memory plan is the measured part's.
"""

import argparse
from pathlib import Path

from tools.make_model import LTX2_CLASS, PARTS, write_model

TOKENIZER = Path("tests/parity/data/models/caption/tokenizer/tokenizer.model")

_TINY_VAE = {"base_dim": 2, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
_TINY_TRANSFORMER = {
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 16,
    "cross_attention_dim": 32,
    "mlp_ratio": 2.0,
}
_TINY_TEXT = {
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 64,
    "vocab_size": 512,
    "query_pre_attn_scalar": 16,
}
_SETTINGS = {"timesteps": [1000, 500], "block_latent_frames": 2, "max_latent_frames": 2}

# Folders with a tiny decoder beside the VAE.
TINY_DECODERS = {"tiny_decoder": "taew2_1"}

FOLDERS = {
    # 4 layers at the 2B width, one latent frame of 832x480: 1560 tokens, caption 300.
    "transformer": (
        {"transformer": {"num_layers": 4}, "vae": _TINY_VAE, "text_encoder": {**_TINY_TEXT, "hidden_size": 2304}},
        {**_SETTINGS, "sizes": ["832x480"], "max_latent_frames": 1, "block_latent_frames": 1},
    ),
    # Wan 2.1's decoder, base 96, two latent frames: 5 frames of 240x416.
    "vae": (
        {
            "transformer": {**_TINY_TRANSFORMER, "caption_channels": 32},
            "text_encoder": {**_TINY_TEXT, "hidden_size": 32},
            "vae": {},
        },
        {**_SETTINGS, "sizes": ["416x240"]},
    ),
    # The same with taew2_1.
    "tiny_decoder": (
        {
            "transformer": {**_TINY_TRANSFORMER, "caption_channels": 32},
            "text_encoder": {**_TINY_TEXT, "hidden_size": 32},
            "vae": {},
        },
        {**_SETTINGS, "sizes": ["416x240"]},
    ),
    # LTX-2's decoder at a quarter of its widths, two latent frames: 9 frames of 704x1280.
    "ltx2": (
        {
            "transformer": {
                **_TINY_TRANSFORMER,
                "caption_channels": 32,
                "in_channels": 128,
                "out_channels": 128,
                "patch_size": [1, 1, 1],
            },
            "text_encoder": {**_TINY_TEXT, "hidden_size": 32},
            "vae": {
                "_class_name": LTX2_CLASS,
                "block_out_channels": [64, 128, 256, 512],
                "decoder_block_out_channels": [64, 128, 256],
            },
        },
        {
            "family": "longtake",
            "sampler": "flow_dpm_solver",
            "steps": 2,
            "guidance": 1.0,
            "max_latent_frames": 2,
            "sizes": ["1280x704"],
        },
    ),
    # 4 layers at Gemma-2-2B's width over 512 tokens; an eighth of its vocabulary, of which 512 rows are looked at.
    "text": (
        {
            "transformer": {**_TINY_TRANSFORMER, "caption_channels": 2304},
            "text_encoder": {"num_hidden_layers": 4, "vocab_size": 32768},
            "vae": _TINY_VAE,
        },
        {**_SETTINGS, "sizes": ["64x64"], "caption_tokens": 512},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for name, (changes, settings) in FOLDERS.items():
        folder = arguments.out / name
        if (folder / "model_index.json").exists():
            continue  # written last: the folder is complete
        sampler = "bidirectional" if settings.get("sampler") == "flow_dpm_solver" else "few_step"
        tiny = TINY_DECODERS.get(name)
        write_model(folder, list(PARTS), changes, sampler, settings=settings, tokenizer=TOKENIZER, tiny_decoder=tiny)


if __name__ == "__main__":
    main()
