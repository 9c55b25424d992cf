"""The Wan VAE over a whole clip at once: the same weights and numbers as diffusers' loop over latent frames.

diffusers carries caches from one latent frame to the next, as a stream must. In training the clip is there as a
whole, every causal convolution is one convolution over all frames, and the many small calls are gone.
`test_whole.py` compares the two. Tensors in here are [B, T, H, W, C].
"""

import torch
import torch.nn.functional as F


def _rms(norm, x):
    """Root-mean-square norm over channels."""
    y = x.float()
    y = y * y.square().sum(-1, keepdim=True).clamp_min(1e-24).rsqrt()
    return (y * (norm.scale * norm.gamma.flatten())).to(x.dtype)


def _conv2d(x, weight, bias, stride=1, padding=1):
    """[B, T, H, W, C] through a 2-D convolution of each frame."""
    b, t = x.shape[:2]
    y = F.conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), weight, bias, stride, padding)
    return y.permute(0, 2, 3, 1).unflatten(0, (b, t))


def _before(x, frames):
    """`x` moved to later frames, with zeros before."""
    return F.pad(x, (0, 0, 0, 0, 0, 0, frames, 0))[:, : x.shape[1]]


def _causal(conv, x):
    """A causal convolution of width 3 or 1 in time: the taps of time become channels of a 2-D one."""
    weight = conv.weight
    taps = weight.shape[2]
    if taps == 3:
        x = torch.cat([_before(x, 2), _before(x, 1), x], -1)
    weight = weight.transpose(1, 2).flatten(1, 2)
    return _conv2d(x, weight, conv.bias, padding=weight.shape[-1] // 2)


def _residual(block, x):
    shortcut = x if isinstance(block.conv_shortcut, torch.nn.Identity) else _causal(block.conv_shortcut, x)
    x = _causal(block.conv1, F.silu(_rms(block.norm1, x)))
    return _causal(block.conv2, F.silu(_rms(block.norm2, x))) + shortcut


def _attention(block, x):
    n = _rms(block.norm, x)
    q, k, v = F.linear(n, block.to_qkv.weight[:, :, 0, 0], block.to_qkv.bias).flatten(2, 3).chunk(3, -1)
    y = F.scaled_dot_product_attention(*(u.flatten(0, 1)[:, None] for u in (q, k, v))).reshape(q.shape)
    return F.linear(y, block.proj.weight[:, :, 0, 0], block.proj.bias).view_as(x) + x


def _middle(block, x):
    x = _residual(block.resnets[0], x)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        x = _residual(resnet, _attention(attention, x))
    return x


def _down(block, x):
    """Halves height and width; in time, the first frame stays and pairs after it become one."""
    conv = block.resample[1]
    x = _conv2d(F.pad(x, (0, 0, 0, 1, 0, 1)), conv.weight, conv.bias, stride=2, padding=0)
    if block.mode == "downsample3d" and x.shape[1] > 1:
        weight = block.time_conv.weight[..., 0, 0].transpose(1, 2).flatten(1)
        taps = torch.cat([x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2]], -1)
        x = torch.cat([x[:, :1], F.linear(taps, weight, block.time_conv.bias)], 1)
    return x


def _up(block, x):
    """Doubles height and width; in time, the first frame stays and each one after it becomes two."""
    if block.mode == "upsample3d" and x.shape[1] > 1:
        # The first frame is no part of the history either: the second sees zeros behind it.
        rest = _causal(block.time_conv, x[:, 1:])
        rest = torch.stack(rest.chunk(2, -1), 2).flatten(1, 2)
        x = torch.cat([x[:, :1], rest], 1)
    conv = block.resample[1]
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return _conv2d(x, conv.weight, conv.bias)


def encode(vae, x):
    """Frames [B, 3, 1 + 4k, H, W] in -1…1 → mean and log-variance of the latents, [B, C, 1 + k, h, w] each."""
    p = vae.config.patch_size
    b, c, t, h, w = x.shape
    x = x.view(b, c, t, h // p, p, w // p, p).permute(0, 2, 3, 5, 1, 6, 4).flatten(4)
    encoder = vae.encoder
    x = _causal(encoder.conv_in, x)
    for block in encoder.down_blocks:
        x = _down(block, x) if hasattr(block, "resample") else _residual(block, x)
    x = _causal(encoder.conv_out, F.silu(_rms(encoder.norm_out, _middle(encoder.mid_block, x))))
    mean, log_variance = _causal(vae.quant_conv, x).permute(0, 4, 1, 2, 3).chunk(2, 1)
    return mean, log_variance.clamp(-30.0, 20.0)


def decode(vae, z):
    """Latents [B, C, 1 + k, h, w], not normalised → frames [B, 3, 1 + 4k, H, W], not clamped."""
    decoder = vae.decoder
    x = _causal(decoder.conv_in, _causal(vae.post_quant_conv, z.permute(0, 2, 3, 4, 1)))
    x = _middle(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = _residual(resnet, x)
        if block.upsamplers is not None:
            x = _up(block.upsamplers[0], x)
    x = _causal(decoder.conv_out, F.silu(_rms(decoder.norm_out, x)))
    p = vae.config.patch_size
    b, t, h, w, _ = x.shape
    return x.view(b, t, h, w, 3, p, p).permute(0, 4, 1, 2, 6, 3, 5).reshape(b, 3, t, h * p, w * p)
