"""Writes small random models and what diffusers and transformers compute with them.

    python -m tools.export --out DIR [--seed N] [--repeat R]   random configurations, all modules
    python -m tools.export --out tests/parity/data --committed  the fixed small set that the C++ tests read

Needs torch, diffusers, transformers, peft, sentencepiece.
"""

import argparse
import random
import shutil
from pathlib import Path

import diffusers
import torch
import transformers

from tools.export import (
    adapters,
    image_to_video,
    ltx2_vae,
    pipeline,
    quantized,
    sana_video2,
    taehv,
    text,
    tokens,
    transformer,
    vae,
)
from tools.export.folder import VARIANTS


def export_random(out: Path, seed: int) -> None:
    """Every module on configurations that follow from the seed."""
    rng = random.Random(seed)
    dtypes = ["float32", "float16", "bfloat16"]
    rng.shuffle(dtypes)

    def dtype(index: int) -> str:
        return dtypes[index % len(dtypes)]

    tag = f"s{seed}"

    def variant(index: int) -> str | None:
        return VARIANTS[dtype(index)] if index % 2 else None

    for index, spelling in enumerate(["5", "4", "4.42"]):
        text.encoder_case(out, f"{tag}_text_{index}", rng, spelling, dtype(index), variant=variant(index))
    text.encoder_case(out, f"{tag}_text_window", rng, "5", dtype(1), {"sliding_window": 4, "attn_logit_softcapping": 1.0})
    settings = {
        "caption_tokens": rng.choice([12, 20, 33]),
        "prompt_prefix": rng.choice(["Describe the scene in detail:\n- a house\nUser prompt: ", "Enhance this: "]),
        "lower_case": True,
        "motion_score": rng.choice([10, 30]),
    }
    text.caption_cases(out, f"{tag}_caption", rng, settings, dtype(0), text.PROMPTS)
    text.caption_cases(out, f"{tag}_caption_plain", rng, {"caption_tokens": 24}, dtype(1), text.PROMPTS)

    tokens.cases(out, f"{tag}_tokenizer", rng)

    patches = [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 1, 1), (2, 2, 2)]
    for index, patch in enumerate(patches):
        shard = 60_000 if index % 2 else None
        name = f"{tag}_pass_{index}"
        transformer.pass_case(out, name, rng, dtype(index), index % 2 == 1, patch, shard, variant=variant(index))
    for index, window in enumerate([0, 1, 2]):
        transformer.causal_cases(out, f"{tag}_causal_{index}", rng, dtype(index), window)
    transformer.causal_cases(out, f"{tag}_causal_guided", rng, dtype(0), 2, guidance=3.0)
    for index, (steps, guidance) in enumerate([(1, 1.0), (2, 4.5), (7, 6.0), (20, 1.0)]):
        transformer.bidirectional_case(out, f"{tag}_bidirectional_{index}", rng, dtype(index), steps, guidance)
    for index, (kind, steps) in enumerate([("euler", 2), ("euler", 20), ("unipc", 2), ("unipc", 7), ("unipc", 20)]):
        scheduler = transformer.random_scheduler(rng, kind)
        name = f"{tag}_{kind}_{index}"
        transformer.bidirectional_case(out, name, rng, dtype(index), steps, rng.choice([1.0, 4.5]), scheduler=scheduler)
    pipeline.cases(out, f"{tag}_pipeline", rng, dtype(2))
    mixes = [[form] for form in adapters.FORMS] + [["diffusers", "kohya"], ["peft", "diffusers_old", "diffusers"]]
    for index, forms in enumerate(mixes):
        adapters.case(out, f"{tag}_adapter_{index}", rng, dtype(index), forms)
    for index, patch in enumerate([None, 2, None]):
        vae.cases(out, f"{tag}_vae_{index}", rng, dtype(index), patch, variant=variant(index))
    for index, (architecture, causal) in enumerate([("2.0", False), ("2.3", False), ("2.0", True), ("2.3", True)]):
        ltx2_vae.cases(out, f"{tag}_ltx2_vae_{index}", rng, dtype(index), architecture, causal)
    for index in range(6):
        sana_video2.pass_case(out, f"{tag}_sana_video2_{index}", rng, dtype(index), index % 2 == 1)
    for index, (steps, guidance) in enumerate([(2, 8.0), (7, 1.0)]):
        sana_video2.bidirectional_case(out, f"{tag}_sana_video2_dpm_{index}", rng, dtype(index), steps, guidance)
    for index, guidance in enumerate([1.0, 3.0]):
        sana_video2.four_step_case(out, f"{tag}_sana_video2_lcm_{index}", rng, dtype(index), guidance)
    sets = [("wan", "dpm", 7, 6.0), ("wan", "euler", 5, 1.0), ("2.0", "dpm", 4, 4.5), ("2.3", "unipc", 6, 3.0)]
    for index, (kind, scheduler, steps, guidance) in enumerate(sets):
        image_to_video.pipeline_case(out, f"{tag}_image_{index}", rng, dtype(index), kind, scheduler, steps, guidance)
    for index, (use, window, guidance) in enumerate([("held", 0, 1.0), ("prefix", 0, 3.0), ("prefix", 2, 1.0)]):
        image_to_video.causal_case(out, f"{tag}_image_{use}_{index}", rng, dtype(index), use, window, guidance)
    forms = [(1, (1, 2, 2), (2, 2, 2)), (4, (2, 2, 2), (2, 2, 2)), (2, (1, 2, 2), (2, 2, 2)), (4, (1, 2, 2), (1, 2, 2))]
    for index, (patch, times, space) in enumerate(forms):
        taehv.case(out, f"{tag}_tiny_decoder_{index}", rng, dtype(index), patch, times, space=space)
    for index in range(3):
        quantized.case(out, f"{tag}_quantized_{index}", rng, quantized.random_formats(rng))


def export_committed(out: Path) -> None:
    """Few and tiny: together under 4 MiB, each module at least once, each storage type at least once."""
    rng = random.Random(7)
    small_text = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
    small_text |= {"head_dim": 16, "num_hidden_layers": 2, "vocab_size": 97, "rms_norm_eps": 1e-6}
    gemma = {**small_text, "sliding_window": 4, "attn_logit_softcapping": 1.0, "layer_types": None}
    text.encoder_case(out, "text_window", rng, "4.42", "bfloat16", gemma)
    text.encoder_case(out, "text_plain", rng, "5", "float32", {**small_text, "num_key_value_heads": 1})
    settings = {
        "caption_tokens": 20,
        "prompt_prefix": "Describe the scene in detail:\nUser prompt: ",
        "lower_case": True,
        "motion_score": 10,
    }
    text.caption_cases(out, "caption", rng, settings, "float16", text.PROMPTS)

    small = {"num_layers": 2, "caption_channels": 24, "mlp_ratio": 2.0, "qk_norm": "rms_norm_across_heads"}
    shape = {"num_attention_heads": 2, "attention_head_dim": 20, "cross_attention_dim": 40, "in_channels": 4}
    shape |= {"out_channels": 4, "num_cross_attention_heads": 4, "cross_attention_head_dim": 12}
    other = {"num_attention_heads": 1, "attention_head_dim": 28, "cross_attention_dim": 28, "in_channels": 6}
    other |= {"out_channels": 6, "num_cross_attention_heads": 1, "cross_attention_head_dim": 20}
    pass_case = transformer.pass_case
    pass_case(out, "pass_patch2", rng, "bfloat16", False, (1, 2, 2), 40_000, {**small, **shape}, "bf16")
    pass_case(out, "pass_patch1_frames", rng, "float32", True, (1, 1, 1), config={**small, **other})
    bias = {"num_layers": 1, "attention_bias": True, "qk_norm": None}
    pass_case(out, "pass_bias", rng, "float16", False, (1, 2, 2), config={**small, **other, **bias}, variant="fp16")
    patch2 = {"patch_size": (1, 2, 2)}
    transformer.causal_cases(out, "causal_sum", rng, "bfloat16", 0, config={**small, **shape, **patch2})
    transformer.causal_cases(out, "causal_window", rng, "bfloat16", 2, config={**small, **other, "patch_size": (1, 1, 1)})
    transformer.causal_cases(out, "causal_guided", rng, "bfloat16", 1, 3.0, {**small, **other, **patch2, "num_layers": 1})
    transformer.bidirectional_case(out, "bidirectional", rng, "bfloat16", 6, 4.5, {**small, **other, **patch2})
    tiny = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 2, 2], "latents_mean": [0.3, -0.5, 0.9, 0.0]}
    tiny |= {"latents_std": [1.5, 0.6, 2.25, 1.0], "num_res_blocks": 1}
    vae.cases(out, "vae", rng, "bfloat16", None, {**tiny, "num_res_blocks": 2}, 3, (3, 5))
    vae.cases(out, "vae_patch2", rng, "bfloat16", 2, tiny, 2, (2, 3), variant="bf16")
    tokens.cases(out, "tokenizer", random.Random(7))
    for kind, steps, guidance in [("euler", 5, 1.0), ("unipc", 7, 4.5)]:
        scheduler = transformer.random_scheduler(rng, kind)
        config = {**small, **other, **patch2, "num_layers": 1}
        transformer.bidirectional_case(out, kind, rng, "bfloat16", steps, guidance, config, scheduler)
    small_text |= {"vocab_size": 420, "layer_types": None}
    pipeline.cases(out, "pipeline", rng, "bfloat16", small_text, {**small, **other, **patch2, "num_layers": 1})
    ltx2_vae.committed_cases(out, random.Random(11))
    sana_video2.committed_cases(out, random.Random(13))
    image_to_video.committed_cases(out, random.Random(19))
    taehv.committed_cases(out, random.Random(13))
    quantized.committed_cases(out, random.Random(23))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="other seeds are other configurations")
    parser.add_argument("--repeat", type=int, default=1, help="so many seeds, one after the other")
    parser.add_argument("--committed", action="store_true", help="the fixed set of tests/parity/data")
    arguments = parser.parse_args()
    for part in ("models", "cases"):
        shutil.rmtree(arguments.out / part, ignore_errors=True)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # the order of sums, and so the bytes, would follow the number
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    if arguments.committed:
        export_committed(arguments.out)
    else:
        for seed in range(arguments.seed, arguments.seed + arguments.repeat):
            export_random(arguments.out, seed)
    count = sum(1 for _ in (arguments.out / "cases").iterdir())
    print(f"{count} cases in {arguments.out}")


if __name__ == "__main__":
    main()
