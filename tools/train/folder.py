"""Writes the trained parts as a model folder in diffusers' layout, bfloat16."""

import json
import os
import shutil

import torch

from tools.train import settings

_INDEX = {
    "_class_name": "SanaVideoPipeline",
    "_diffusers_version": "0.42.1",
    "text_encoder": ["transformers", "Gemma2Model"],
    "tokenizer": ["transformers", "GemmaTokenizer"],
    "transformer": ["diffusers", "SanaVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
_TOKENIZER = {
    "tokenizer_class": "GemmaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<bos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "eos_token": None,
    "padding_side": "right",
    "clean_up_tokenization_spaces": False,
    "model_max_length": 8192,
}


def _json(folder, name, value):
    with open(os.path.join(folder, name), "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def write_vae(folder, vae, stats):
    """The VAE with its latents' statistics; reads back by `from_pretrained`."""
    vae.register_to_config(latents_mean=stats[0], latents_std=stats[1])
    vae.to("cpu", torch.bfloat16).save_pretrained(os.path.join(folder, "vae"))
    config = os.path.join(folder, "vae", "config.json")
    with open(config) as file:
        told = json.load(file)
    told.pop("_name_or_path", None)  # where a VAE came from is a path of this machine
    _json(folder, "vae/config.json", told)


def write(folder, models, vae, stats, tokenizer_path):
    """The whole folder. The models are left on the CPU in bfloat16. longtake.json names the sampler; a scheduler beside
    it would make another model of a folder that has lost that file."""
    os.makedirs(os.path.join(folder, "tokenizer"), exist_ok=True)
    write_vae(folder, vae, stats)
    models["dit"].to("cpu", torch.bfloat16).save_pretrained(os.path.join(folder, "transformer"))
    models["text"].to("cpu", torch.bfloat16).save_pretrained(os.path.join(folder, "text_encoder"))
    target = os.path.join(folder, "tokenizer", "tokenizer.model")
    if os.path.abspath(tokenizer_path) != os.path.abspath(target):
        shutil.copyfile(tokenizer_path, target)
    _json(folder, "tokenizer/tokenizer_config.json", _TOKENIZER)
    _json(folder, "model_index.json", _INDEX)
    _json(folder, "longtake.json", settings.pipeline_settings())
