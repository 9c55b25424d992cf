"""Backward passes by hand equal those of autograd on the plain formulas."""

import unittest

import torch
import torch.nn.functional as F
from diffusers.models.normalization import RMSNorm

from tools.train import fused, run


def _gradients(function, *inputs):
    inputs = [x.clone().requires_grad_(True) for x in inputs]
    out = function(*inputs)
    torch.manual_seed(1)
    return [out, *torch.autograd.grad((out * torch.randn_like(out)).sum(), inputs)]


class Fused(unittest.TestCase):
    def _same(self, ours, plain, *shapes):
        torch.manual_seed(0)
        inputs = [torch.randn(s) for s in shapes]
        for a, b in zip(_gradients(ours, *inputs), _gradients(plain, *inputs), strict=True):
            self.assertLess((a - b).abs().max().item(), 1e-5 * b.abs().max().item())

    def test_norm_relu(self):
        norm = RMSNorm(24, eps=1e-5)

        def ours(x, weight):
            return fused._NormRelu.apply(x, weight, norm.eps)

        def plain(x, weight):
            return F.relu(x * (x.square().mean(-1, keepdim=True) + norm.eps).rsqrt() * weight)

        self._same(ours, plain, (2, 3, 5, 24), (24,))
        x = torch.randn(4, 24)
        self.assertTrue(torch.allclose(fused.norm_relu(norm, x), F.relu(norm(x)), atol=1e-6))

    def test_modulate(self):
        def plain(n, scale, shift):
            return n * (1 + scale[:, :, None]) + shift[:, :, None]

        self._same(fused.modulate, plain, (2, 3, 5, 8), (2, 3, 8), (2, 3, 8))

    def test_gated(self):
        def plain(h, gate, x):
            return h + gate[:, :, None] * x

        self._same(fused.gated, plain, (2, 3, 5, 8), (2, 3, 8), (2, 3, 5, 8))

    def test_swish_gate(self):
        def plain(x):
            a, g = x.chunk(2, -1)
            return a * F.silu(g)

        self._same(fused.swish_gate, plain, (2, 3, 4, 16))

    def test_twin_follows_the_module_and_hands_gradients_back(self):
        torch.manual_seed(0)
        module = torch.nn.Linear(6, 4)
        twin = run.Twin(module)
        with torch.no_grad():
            module.weight.add_(1.0)
        twin.load()
        x = torch.randn(3, 6)
        twin.module(x.to(twin.dtype)).float().square().sum().backward()
        twin.give_gradients()
        given = module.weight.grad.clone()
        module.zero_grad()
        module(x).square().sum().backward()
        self.assertEqual(given.dtype, torch.float32)
        self.assertLess((given - module.weight.grad).abs().max().item(), 0.03 * given.abs().max().item())
        self.assertIsNone(twin.module.weight.grad)


if __name__ == "__main__":
    unittest.main()
