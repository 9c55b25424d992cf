"""The tiny decoder as it is trained, all frames at once, equals the stream that parity cases are made with; any cut."""

import unittest

import torch

from tools.export import taehv
from tools.train import tiny_decoder


class TinyDecoder(unittest.TestCase):
    @torch.no_grad()
    def setUp(self):
        torch.manual_seed(0)
        self.model = tiny_decoder.Decoder(4, 2, widths=(8, 6, 5, 4))
        reference = taehv.Weights(4, 2, (8, 6, 5, 4), (1, 2, 2), tiny_decoder.SPACE)
        self.assertEqual(set(reference.names), set(self.model.state_dict()))
        self.model.load_state_dict(reference.tensors())
        self.latents = 2 * torch.randn(1, 4, 5, 3, 4)
        self.expected = (taehv.decode(reference, self.latents) + 1) / 2

    @torch.no_grad()
    def test_whole(self):
        frames, _ = self.model(self.latents)
        frames = frames[:, :, self.model.frames - 1 :].clamp(0, 1)
        self.assertEqual(frames.shape, self.expected.shape)
        self.assertLess((frames - self.expected).abs().max().item(), 1e-5)

    @torch.no_grad()
    def test_cut(self):
        whole, _ = self.model(self.latents)
        first, past = self.model(self.latents[:, :, :2])
        second, _ = self.model(self.latents[:, :, 2:], past)
        self.assertLess((torch.cat([first, second], 2) - whole).abs().max().item(), 1e-5)


if __name__ == "__main__":
    unittest.main()
