"""Cases of the text encoder and of the way from a prompt to its caption embedding, from transformers' Gemma2Model."""

import json
import random
from pathlib import Path

import torch
from transformers import Gemma2Config, Gemma2Model

from tools.export import tokenizer
from tools.export.folder import ModelFolder, bfloat16_draws, stored_as, write_case
from tools.export.weights import randomize

BOS, PAD = 2, 0


def random_config(rng: random.Random, vocabulary: int) -> dict:
    """Gemma-2 configurations that vary everything a folder may vary."""
    kv_heads = rng.choice([1, 2])
    heads = kv_heads * rng.choice([1, 2, 4])
    head_dim = rng.choice([8, 16, 24, 32])
    width = heads * rng.choice([6, 12, 16])
    layers = rng.choice([2, 3, 4])
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": width * rng.choice([2, 3]) + rng.choice([0, 8]),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "query_pre_attn_scalar": rng.choice([head_dim, 2 * head_dim, 24]),
        "attn_logit_softcapping": rng.choice([50.0, 2.0, 1.0, None]),
        "rms_norm_eps": rng.choice([1e-6, 1e-5]),
        "attention_bias": rng.choice([False, False, True]),
        "sliding_window": rng.choice([3, 5, 8, 4096]),
        "rope_parameters": {"rope_type": "default", "rope_theta": rng.choice([10000.0, 500.0, 1000000.0])},
        "layer_types": [rng.choice(["sliding_attention", "full_attention"]) for _ in range(layers)]
        if rng.random() < 0.3
        else None,
        "max_position_embeddings": 1024,
    }


def build(config: dict, seed: int, dtype: str) -> Gemma2Model:
    # Soft caps exist in the eager implementation only.
    model = Gemma2Model(Gemma2Config(**config, attn_implementation="eager"))
    return stored_as(randomize(model, seed), dtype)


def respell(path: Path, spelling: str) -> None:
    """Rewrites a config.json as transformers 4 wrote it: `4` with layer types, `4.42` before there were any."""
    if spelling == "5":
        return
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    config["torch_dtype"] = config.pop("dtype", "float32")
    config["transformers_version"] = "4.57.1"
    config.pop("use_bidirectional_attention", None)
    if spelling == "4.42":
        config.pop("layer_types")
        config.pop("rope_scaling")
        config.pop("tie_word_embeddings", None)
        config["hidden_act"] = config["hidden_activation"]
        config["cache_implementation"] = "hybrid"
        config["eos_token_id"] = [1, 107]
        config["transformers_version"] = "4.42.4"
    path.write_text(json.dumps(config, indent=2) + "\n")


def encode(model: Gemma2Model, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state


def encoder_case(
    out: Path, name: str, rng: random.Random, spelling: str, dtype: str, config: dict | None = None, variant: str | None = None
) -> None:
    """B sequences of different lengths, padded on the right."""
    vocabulary = rng.choice([64, 97, 300])
    config = {**random_config(rng, vocabulary), **(config or {})}
    if spelling == "4.42":
        config["layer_types"] = None
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder = ModelFolder(out, name)
    path = folder.add("text_encoder", model, dtype, shard_bytes=rng.choice([None, 40_000]), variant=variant)
    respell(path / "config.json", spelling)
    folder.close()

    generator = torch.Generator().manual_seed(seed)
    batch, length = rng.choice([1, 2, 3]), rng.choice([9, 17, 24])
    ids = torch.randint(4, config["vocab_size"], (batch, length), generator=generator)
    ids[:, 0] = BOS
    mask = torch.ones_like(ids)
    for row in range(batch):
        used = length if row == 0 and batch > 1 else rng.randrange(2, length)
        ids[row, used:] = PAD
        mask[row, used:] = 0
    write_case(
        out,
        name,
        "text_encoder",
        name,
        {"input_ids": ids, "attention_mask": mask},
        bfloat16_draws(model, dtype, lambda m: {"last_hidden_state": encode(m, ids, mask)}),
        valid_rows={"last_hidden_state": "attention_mask"},
    )


def caption_inputs(processor, prompt: str, settings: dict) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """ids [1,n], mask [1,n] and the positions that are kept, from the folder's settings.

    Of a prompt that is too long the motion score is kept: ours, upstream cuts it off.
    """
    kept = settings["caption_tokens"]
    score = settings.get("motion_score")
    suffix = "" if score is None else f" motion score: {score}."
    prompt += suffix
    if settings.get("lower_case", False):
        prompt = prompt.lower()
    prompt = prompt.strip()
    prefix = settings.get("prompt_prefix", "")
    length = len(processor.encode(prefix)) + 1 + kept - 2 if prefix else kept
    ids = [BOS, *processor.encode(prefix + prompt)]
    if len(ids) > length:
        last = processor.encode(suffix)
        ids = ids[: length - len(last)] + last
    mask = [1] * len(ids) + [0] * (length - len(ids))
    ids = ids + [PAD] * (length - len(ids))
    return torch.tensor([ids]), torch.tensor([mask]), [0, *range(length - kept + 1, length)]


PROMPTS = [
    "A red Boat drifts slowly left over a meadow",
    "  Über den Wolken: a ÉCLAIR, 3 stars & 42 moons…  ",
    "the yellow balloon rises " * 12,
    "",
]


def caption_cases(out: Path, name: str, rng: random.Random, settings: dict, dtype: str, prompts: list[str]) -> None:
    """One folder with tokenizer, text encoder and settings; one case for each prompt."""
    folder = ModelFolder(out, name)
    tokenizer_folder = folder.add_component("tokenizer")
    processor = tokenizer.train(tokenizer_folder / "tokenizer.model", seed=rng.randrange(1000))
    (tokenizer_folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False}, indent=2) + "\n"
    )
    config = random_config(rng, processor.get_piece_size())
    seed = rng.randrange(2**31)
    model = build(config, seed, dtype)
    folder.add("text_encoder", model, dtype)
    folder.settings({"sampler": "few_step", "timesteps": [1000, 889], "shift": 7.0, "block_latent_frames": 4, **settings})
    folder.close()
    for index, prompt in enumerate(prompts):
        ids, mask, kept = caption_inputs(processor, prompt, settings)

        def run(m, ids=ids, mask=mask, kept=kept):
            return {
                "input_ids": ids.float(),
                "encoder_hidden_states": encode(m, ids, mask)[:, kept],
                "encoder_attention_mask": mask[:, kept].float(),
            }

        write_case(
            out,
            f"{name}_{index}",
            "caption",
            name,
            {},
            bfloat16_draws(model, dtype, run),
            arguments=["--prompt", prompt],
            valid_rows={"encoder_hidden_states": "encoder_attention_mask"},
        )
