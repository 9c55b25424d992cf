"""The VAE over a whole clip equals diffusers' loop over latent frames, in both directions."""

import unittest

import torch

from tools.train import vae, whole


class WholeEqualsLoop(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.vae = vae.make().eval().requires_grad_(False)
        for p in self.vae.parameters():
            p.add_(0.05 * torch.randn_like(p))

    def _close(self, ours, reference):
        self.assertEqual(ours.shape, reference.shape)
        self.assertLess(((ours - reference).abs().max() / reference.abs().max()).item(), 2e-5)

    def test_encode(self):
        for frames in (1, 5, 17):
            x = torch.rand(2, 3, frames, 32, 48) * 2 - 1
            expected = self.vae.encode(x).latent_dist
            mean, log_variance = whole.encode(self.vae, x)
            self._close(mean, expected.mean)
            self._close(log_variance, expected.logvar)

    def test_decode(self):
        for latents in (1, 2, 5):
            z = torch.randn(2, 16, latents, 2, 3)
            # small, so that nothing is clamped, as diffusers does at the end
            for p in self.vae.decoder.conv_out.parameters():
                p.mul_(0.1)
            expected = self.vae.decode(z).sample
            self.assertLess(expected.abs().max().item(), 1.0)
            self._close(whole.decode(self.vae, z), expected)


if __name__ == "__main__":
    unittest.main()
