"""Cases of `SanaVideoPipeline` itself, called with its defaults: the prompts that it hands on, and its latents.

The instruction prefix, lower case, the window of 300 tokens, the steps and the guidance stand in the pipeline's
signature and code, not in the folder. The folder of these cases has no longtake.json: its family has to know them.
"""

import inspect
import random
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, SanaVideoPipeline

from tools.export import text, tokenizer, transformer
from tools.export.folder import ModelFolder, bfloat16_draws, write_case

PROMPTS = ["  A red Boat drifts slowly left over a Meadow", "the yellow balloon rises over the sea " * 50]
NEGATIVE_PROMPTS = ["", "A BLURRY boat"]


class _Tokenizer:
    """What the pipeline uses of a tokenizer, by SentencePiece: transformers' would need protobuf to read the file."""

    def __init__(self, processor):
        self.processor = processor
        self.padding_side = "right"

    def encode(self, prompt: str) -> list[int]:
        return [text.BOS, *self.processor.encode(prompt)]

    def __call__(self, prompts, padding, max_length, truncation, add_special_tokens, return_tensors):
        assert padding == "max_length" and truncation and add_special_tokens and return_tensors == "pt"
        rows = [self.encode(prompt)[:max_length] for prompt in prompts]
        ids = [row + [text.PAD] * (max_length - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (max_length - len(row)) for row in rows]
        return _Tokens(torch.tensor(ids), torch.tensor(mask))


class _Tokens:
    def __init__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        self.input_ids = input_ids
        self.attention_mask = attention_mask


class _EncodedError(Exception):
    """Ends the pipeline's call once its prompts are encoded."""


def _encoded(pipeline: SanaVideoPipeline, prompt: str, **given) -> list[dict[str, torch.Tensor]]:
    """What `pipeline(prompt, **given)` makes of its prompt, then of its negative one, as outputs of `caption`."""
    ids, encode = [], pipeline.encode_prompt

    def record(module, arguments, keywords):
        ids.append(arguments[0])

    def encode_and_stop(*arguments, **keywords):
        raise _EncodedError(encode(*arguments, **keywords))

    hook = pipeline.text_encoder.register_forward_pre_hook(record, with_kwargs=True)
    pipeline.encode_prompt = encode_and_stop
    try:
        pipeline(prompt, **given)
    except _EncodedError as encoded:
        states, mask, negative_states, negative_mask = encoded.args[0]
    finally:
        pipeline.encode_prompt = encode
        hook.remove()
    return [
        {"input_ids": i.float(), "encoder_hidden_states": s, "encoder_attention_mask": m.float()}
        for i, s, m in zip(ids, [states, negative_states], [mask, negative_mask], strict=True)
    ]


def _call_case(out: Path, name: str, encoder, processor, video, dtype: str, scheduler) -> None:
    """The latents of the pipeline's own loop, with its default steps and guidance, from given noise."""
    defaults = inspect.signature(SanaVideoPipeline.__call__).parameters
    captions = _encoded(SanaVideoPipeline(_Tokenizer(processor), encoder, None, video, scheduler), PROMPTS[0])
    inputs = {"latents": torch.randn(1, video.config.in_channels, 2, 4, 8, generator=torch.Generator().manual_seed(1))}
    for prefix, caption in zip(["", "negative_"], captions, strict=True):
        inputs[prefix + "encoder_hidden_states"] = caption["encoder_hidden_states"]
        inputs[prefix + "encoder_attention_mask"] = caption["encoder_attention_mask"].long()

    def run(model):
        pipeline = SanaVideoPipeline(_Tokenizer(processor), encoder, None, model, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        call = {"height": 32, "width": 64, "frames": 5, "use_resolution_binning": False, "output_type": "latent"}
        call |= {"prompt_embeds": inputs["encoder_hidden_states"].to(model.dtype)}
        call |= {"prompt_attention_mask": inputs["encoder_attention_mask"]}
        call |= {"negative_prompt_embeds": inputs["negative_encoder_hidden_states"].to(model.dtype)}
        call |= {"negative_prompt_attention_mask": inputs["negative_encoder_attention_mask"]}
        return {"latents": pipeline(negative_prompt=None, latents=inputs["latents"], **call).frames}

    arguments = ["--steps", str(defaults["num_inference_steps"].default)]
    arguments += ["--guidance", str(defaults["guidance_scale"].default)]
    write_case(out, f"{name}_call", "bidirectional", name, inputs, bfloat16_draws(video, dtype, run), arguments)


def cases(out: Path, name: str, rng: random.Random, dtype: str, text_config=None, video_config=None) -> None:
    """One folder as diffusers saves it; a case for each prompt, and for each negative one."""
    folder = ModelFolder(out, name)
    processor = tokenizer.train(folder.add_component("tokenizer") / "tokenizer.model", seed=rng.randrange(1000))
    config = {**text.random_config(rng, processor.get_piece_size()), **(text_config or {})}
    seed = rng.randrange(2**31)
    encoder = text.build(config, seed, dtype)
    folder.add("text_encoder", encoder, dtype)
    video_config = transformer.random_config(rng) | (video_config or {}) | {"caption_channels": config["hidden_size"]}
    video = transformer.build(video_config, seed, dtype)
    folder.add("transformer", video, dtype)
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=8.0)
    scheduler.save_pretrained(folder.add_component("scheduler"))
    folder.close()

    calls = [(prompt, {}) for prompt in PROMPTS] + [("", {"negative_prompt": prompt}) for prompt in NEGATIVE_PROMPTS]
    _call_case(out, name, encoder, processor, video, dtype, scheduler)
    for index, (prompt, given) in enumerate(calls):
        at = 1 if given else 0
        arguments = ["--prompt", given["negative_prompt"], "--negative"] if given else ["--prompt", prompt]

        def run(model, prompt=prompt, given=given, at=at):
            pipeline = SanaVideoPipeline(_Tokenizer(processor), model, None, video, scheduler)
            return _encoded(pipeline, prompt, **given)[at]

        write_case(
            out,
            f"{name}_{index}",
            "caption",
            name,
            {},
            bfloat16_draws(encoder, dtype, run),
            arguments=arguments,
            valid_rows={"encoder_hidden_states": "encoder_attention_mask"},
        )
