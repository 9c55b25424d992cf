"""The engine makes of the bundled model the same latents as the generator that it was trained with.

From prompt and noise through tokenizer, text encoder and the few-step sampler, in float32.
"""

import json
import subprocess

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tools.train import reference, settings

BOUND = 1e-3  # max|difference| / max|expected|; the training code is torch, and errors grow from block to block


@pytest.fixture
def expected(repository):
    with safe_open(repository / reference.OUTPUT, "np") as file:
        made_of = file.metadata()["checksum"]
        latents = file.get_tensor("latents")
    assert made_of == reference.checksum(repository / reference.MODEL), "run `python -m tools.train.reference`"
    return latents


def run_module(repository, module, output, *options):
    runner = repository / "build" / "release" / "longtake-module"
    command = [runner, "--model", repository / reference.MODEL, "--module", module, "--output", output, "--dtype", "float32"]
    subprocess.run([str(c) for c in (*command, *options)], check=True)
    return load_file(output)


def few_step(repository, folder, backend, prompt, noise):
    told = json.loads((repository / reference.MODEL / "longtake.json").read_text())
    inputs = {"noise": noise}
    for prefix, text in (("", prompt), ("negative_", told.get("negative_prompt", ""))):
        caption = run_module(repository, "caption", folder / "caption", "--backend", backend, "--prompt", text)
        inputs[prefix + "encoder_hidden_states"] = caption["encoder_hidden_states"]
        inputs[prefix + "encoder_attention_mask"] = caption["encoder_attention_mask"].astype(np.int64)
    if told.get("guidance", 1.0) == 1.0:
        inputs = {k: v for k, v in inputs.items() if not k.startswith("negative_")}
    save_file(inputs, folder / "input")
    return run_module(repository, "few_step", folder / "output", "--backend", backend, "--input", folder / "input")["latents"]


def error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def test_its_settings_are_those_that_training_writes(repository):
    assert json.loads((repository / reference.MODEL / "longtake.json").read_text()) == settings.pipeline_settings()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_latents_are_the_generators(repository, expected, tmp_path, backend):
    steps = len(json.loads((repository / reference.MODEL / "longtake.json").read_text())["timesteps"])
    noise = reference.noise(steps, expected.shape[0])
    actual = few_step(repository, tmp_path, backend, reference.PROMPT, noise)
    assert actual.shape == expected.shape
    assert error(actual, expected) <= BOUND
    other = few_step(repository, tmp_path, backend, "a small blue star rises over the desert at sunset", noise)
    assert error(other, expected) > 10 * BOUND, "the prompt decides nothing"
