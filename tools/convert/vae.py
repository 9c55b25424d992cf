"""A VAE's own file to the part `vae` of a model folder."""

from pathlib import Path

from tools.convert import files, ltx2_vae, wan_vae
from tools.convert.tensors import write_tensors


def convert_vae(file: Path, out: Path, dtype: str = "keep") -> str:
    """Writes out/vae/ and returns its class. ValueError says what about the file is wrong."""
    checkpoint = files.load(file)
    for kind in (wan_vae, ltx2_vae):
        if kind.recognize(checkpoint.tensors.keys()):
            renamed, expected, config = kind.convert(checkpoint)
            write_tensors(out / "vae", renamed, expected, config, dtype)
            return config["_class_name"]
    if any(name.startswith("decoder.up_blocks.") and ".resnets." in name for name in checkpoint.tensors):
        raise ValueError("the file has diffusers' names already: copy its folder with --parts-from")
    raise ValueError(f"the file is no VAE of Wan 2.1 or LTX-2; its tensors begin with {sorted(checkpoint.tensors)[:3]}")
