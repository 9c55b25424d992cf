"""The tensors that each part of a model folder holds, from its config: names and shapes as diffusers and transformers
save them. tests/tools compares these lists with folders that the libraries themselves wrote.
"""

import itertools
from collections.abc import Iterator

Shape = tuple[int, ...]


def _affine(name: str, *shape: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def transformer(config: dict) -> Iterator[tuple[str, Shape]]:
    """SanaVideoTransformer3DModel."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    cross = config["num_cross_attention_heads"] * config["cross_attention_head_dim"]
    hidden = int(config["mlp_ratio"] * width)
    patch = tuple(config["patch_size"])
    volume = patch[0] * patch[1] * patch[2]
    normed = config["qk_norm"] is not None

    yield "scale_shift_table", (2, width)
    yield from _affine("patch_embedding", width, config["in_channels"], *patch)
    yield from _affine("time_embed.emb.timestep_embedder.linear_1", width, 256)
    yield from _affine("time_embed.emb.timestep_embedder.linear_2", width, width)
    yield from _affine("time_embed.linear", 6 * width, width)
    yield from _affine("caption_projection.linear_1", width, config["caption_channels"])
    yield from _affine("caption_projection.linear_2", width, width)
    yield "caption_norm.weight", (width,)
    for layer in range(config["num_layers"]):
        block = f"transformer_blocks.{layer}"
        yield f"{block}.scale_shift_table", (6, width)
        for name in ("to_q", "to_k", "to_v"):
            yield f"{block}.attn1.{name}.weight", (width, width)
            if config["attention_bias"]:
                yield f"{block}.attn1.{name}.bias", (width,)
        yield from _affine(f"{block}.attn1.to_out.0", width, width)
        yield from _affine(f"{block}.attn2.to_q", cross, width)
        yield from _affine(f"{block}.attn2.to_k", cross, config["cross_attention_dim"])
        yield from _affine(f"{block}.attn2.to_v", cross, config["cross_attention_dim"])
        yield from _affine(f"{block}.attn2.to_out.0", width, cross)
        if normed:
            for norm in ("norm_q", "norm_k"):
                yield f"{block}.attn1.{norm}.weight", (width,)
                yield f"{block}.attn2.{norm}.weight", (cross,)
        yield from _affine(f"{block}.ff.conv_inverted", 2 * hidden, width, 1, 1)
        yield from _affine(f"{block}.ff.conv_depth", 2 * hidden, 1, 3, 3)
        yield f"{block}.ff.conv_point.weight", (width, hidden, 1, 1)
        yield f"{block}.ff.conv_temp.weight", (width, width, 3, 1)
    yield from _affine("proj_out", volume * config["out_channels"], width)


def softmax_layers(layers: int, count: int) -> list[int]:
    """Which layers of SANA-Video 2.0 have softmax attention."""
    return [(i + 1) * layers // count - 1 for i in range(count)]


def sana_video2(config: dict) -> Iterator[tuple[str, Shape]]:
    """The transformer of SANA-Video 2.0, under NVlabs' names."""
    width, layers = config["width"], config["layers"]
    hidden, patch = config["ffn_ratio"] * width, tuple(config["patch_size"])
    softmax = softmax_layers(layers, max(1, int(config["softmax_ratio"] * layers)))

    yield from _affine("x_embedder.proj", width, config["channels"], *patch)
    yield from _affine("t_embedder.mlp.0", width, 256)
    yield from _affine("t_embedder.mlp.2", width, width)
    yield from _affine("t_block.1", 6 * width, width)
    yield from _affine("y_embedder.y_proj.fc1", width, config["caption_channels"])
    yield from _affine("y_embedder.y_proj.fc2", width, width)
    yield "attention_y_norm.weight", (width,)
    for layer in range(layers):
        block = f"blocks.{layer}"
        yield f"{block}.scale_shift_table", (6, width)
        yield f"{block}.attn.qkv.weight", (3 * width, width)
        yield from _affine(f"{block}.attn.proj", width, width)
        yield from _affine(f"{block}.attn.output_gate", width, width)
        if layer not in softmax:
            yield from _affine(f"{block}.attn.beta_proj", width // config["linear_head_dim"], width)
            yield f"{block}.attn.o_norm.weight", (config["linear_head_dim"],)
        yield from _affine(f"{block}.cross_attn.q_linear", width, width)
        yield from _affine(f"{block}.cross_attn.kv_linear", 2 * width, width)
        yield from _affine(f"{block}.cross_attn.proj", width, width)
        for norm in ("attn.q_norm", "attn.k_norm", "cross_attn.q_norm", "cross_attn.k_norm"):
            yield f"{block}.{norm}.weight", (width,)
        yield from _affine(f"{block}.mlp.gate_proj", hidden, width)
        yield from _affine(f"{block}.mlp.up_proj", hidden, width)
        yield from _affine(f"{block}.mlp.down_proj", width, hidden)
    for name in ("attn_proj", "mlp_proj", "final_proj"):
        yield f"attn_res.{name}.weight", (1, width)
    yield from _affine("final_layer.linear", config["channels"] * patch[0] * patch[1] * patch[2], width)
    yield "final_layer.scale_shift_table", (2, width)


def text_encoder(config: dict) -> Iterator[tuple[str, Shape]]:
    """Gemma2Model."""
    width, ffn = config["hidden_size"], config["intermediate_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    yield "embed_tokens.weight", (config["vocab_size"], width)
    for index in range(config["num_hidden_layers"]):
        layer = f"layers.{index}"
        for name, shape in {
            "q_proj": (query, width),
            "k_proj": (key, width),
            "v_proj": (key, width),
            "o_proj": (width, query),
        }.items():
            yield f"{layer}.self_attn.{name}.weight", shape
            if config.get("attention_bias", False):
                yield f"{layer}.self_attn.{name}.bias", shape[:1]
        yield f"{layer}.mlp.gate_proj.weight", (ffn, width)
        yield f"{layer}.mlp.up_proj.weight", (ffn, width)
        yield f"{layer}.mlp.down_proj.weight", (width, ffn)
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{layer}.{norm}_layernorm.weight", (width,)
    yield "norm.weight", (width,)


def _residual(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.norm1.gamma", (inputs, 1, 1, 1)
    yield from _affine(f"{name}.conv1", outputs, inputs, 3, 3, 3)
    yield f"{name}.norm2.gamma", (outputs, 1, 1, 1)
    yield from _affine(f"{name}.conv2", outputs, outputs, 3, 3, 3)
    if inputs != outputs:
        yield from _affine(f"{name}.conv_shortcut", outputs, inputs, 1, 1, 1)


def _middle(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _residual(f"{name}.resnets.0", width, width)
    yield f"{name}.attentions.0.norm.gamma", (width, 1, 1)
    yield from _affine(f"{name}.attentions.0.to_qkv", 3 * width, width, 1, 1)
    yield from _affine(f"{name}.attentions.0.proj", width, width, 1, 1)
    yield from _residual(f"{name}.resnets.1", width, width)


def vae(config: dict) -> Iterator[tuple[str, Shape]]:
    """AutoencoderKLWan without attention in the stages and without residual stages (Wan 2.1)."""
    base, mult, z = config["base_dim"], config["dim_mult"], config["z_dim"]
    down = config["temperal_downsample"]
    last = len(mult) - 1

    width = base
    yield from _affine("encoder.conv_in", width, config["in_channels"], 3, 3, 3)
    index = 0
    for stage, factor in enumerate(mult):
        for _ in range(config["num_res_blocks"]):
            yield from _residual(f"encoder.down_blocks.{index}", width, base * factor)
            width = base * factor
            index += 1
        if stage != last:
            yield from _affine(f"encoder.down_blocks.{index}.resample.1", width, width, 3, 3)
            if down[stage]:
                yield from _affine(f"encoder.down_blocks.{index}.time_conv", width, width, 3, 1, 1)
            index += 1
    yield from _middle("encoder.mid_block", width)
    yield "encoder.norm_out.gamma", (width, 1, 1, 1)
    yield from _affine("encoder.conv_out", 2 * z, width, 3, 3, 3)
    yield from _affine("quant_conv", 2 * z, 2 * z, 1, 1, 1)
    yield from _affine("post_quant_conv", z, z, 1, 1, 1)

    width = base * mult[-1]
    yield from _affine("decoder.conv_in", width, z, 3, 3, 3)
    yield from _middle("decoder.mid_block", width)
    for stage, factor in enumerate(reversed(mult)):
        block = f"decoder.up_blocks.{stage}"
        for residual in range(config["num_res_blocks"] + 1):
            yield from _residual(f"{block}.resnets.{residual}", width, base * factor)
            width = base * factor
        if stage != last:
            yield from _affine(f"{block}.upsamplers.0.resample.1", width // 2, width, 3, 3)
            if down[last - 1 - stage]:
                yield from _affine(f"{block}.upsamplers.0.time_conv", 2 * width, width, 3, 1, 1)
            width //= 2
    yield "decoder.norm_out.gamma", (width, 1, 1, 1)
    yield from _affine("decoder.conv_out", config["out_channels"], width, 3, 3, 3)


def tiny_decoder(config: dict) -> Iterator[tuple[str, Shape]]:
    """A tiny decoder (TAEHV), whose files have no config: latent `channels`, `patch`, `widths` of the stages, and the frames
    (`times`) that each stage makes of one."""
    widths = config["widths"]
    yield from _affine("decoder.1", widths[0], config["channels"], 3, 3)
    for stage, (width, after) in enumerate(itertools.pairwise(widths)):
        layer = 3 + 6 * stage
        for block in range(layer, layer + 3):
            for conv, inputs in ((0, 2 * width), (2, width), (4, width)):
                yield from _affine(f"decoder.{block}.conv.{conv}", width, inputs, 3, 3)
        yield f"decoder.{layer + 4}.conv.weight", (width * config["times"][stage], width, 1, 1)
        yield f"decoder.{layer + 5}.weight", (after, width, 3, 3)
    yield from _affine("decoder.22", 3 * config["patch"] ** 2, widths[-1], 3, 3)


def _ltx2_conv(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield from _affine(f"{name}.conv", outputs, inputs, 3, 3, 3)


def _ltx2_blocks(name: str, width: int, count: int) -> Iterator[tuple[str, Shape]]:
    for index in range(count):
        yield from _ltx2_conv(f"{name}.resnets.{index}.conv1", width, width)
        yield from _ltx2_conv(f"{name}.resnets.{index}.conv2", width, width)


def ltx2_vae(config: dict) -> Iterator[tuple[str, Shape]]:
    """AutoencoderKLLTX2Video and AutoencoderKLCausalLTX2Video, with every stage down- or upsampled and no conditioning
    on a timestep."""
    positions = {"spatial": 4, "temporal": 2, "spatiotemporal": 8}
    latent, pixels = config["latent_channels"], 3 * config["patch_size"] ** 2
    yield "latents_mean", (latent,)
    yield "latents_std", (latent,)

    yield from _ltx2_conv("encoder.conv_in", pixels, latent)
    width = latent
    *stages, middle = config["layers_per_block"]
    for index, (count, out) in enumerate(zip(stages, config["block_out_channels"], strict=True)):
        block = f"encoder.down_blocks.{index}"
        yield from _ltx2_blocks(block, width, count)
        yield from _ltx2_conv(f"{block}.downsamplers.0.conv", width, out // positions[config["downsample_type"][index]])
        width = out
    yield from _ltx2_blocks("encoder.mid_block", width, middle)
    yield from _ltx2_conv("encoder.conv_out", width, latent + 1)

    # The decoder's lists but for `upsample_type` begin with its last stage.
    kinds = config["upsample_type"] if "upsample_type" in config else config["decoder_upsample_type"][::-1]
    widths, factors = config["decoder_block_out_channels"][::-1], config["upsample_factor"][::-1]
    middle, *stages = config["decoder_layers_per_block"][::-1]
    width = widths[0]
    yield from _ltx2_conv("decoder.conv_in", latent, width)
    yield from _ltx2_blocks("decoder.mid_block", width, middle)
    for index, (count, out, factor) in enumerate(zip(stages, widths, factors, strict=True)):
        block = f"decoder.up_blocks.{index}"
        rows = width * positions[kinds[index]] // factor
        yield from _ltx2_conv(f"{block}.upsamplers.0.conv", width, rows)
        width = out // factor
        yield from _ltx2_blocks(block, width, count)
    yield from _ltx2_conv("decoder.conv_out", width, pixels)
