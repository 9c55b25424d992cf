"""Guidance in the weights: what the moved target teaches."""

import unittest

import torch

from tools.train import dit as D
from tools.train import settings, train_dit


class Guided(unittest.TestCase):
    def test_the_fixed_point_is_guidance(self):
        torch.manual_seed(0)
        true, without = torch.randn(2, 50)
        v = true.clone()
        for _ in range(100):
            v = train_dit.guided(true, v, without)
        scale = 1 / (1 - train_dit._GUIDE)
        self.assertLess((v - (without + scale * (true - without))).abs().max().item(), 1e-4)

    def test_going_on_leaves_the_images_phase_out(self):
        for device in ("cpu", "cuda"):
            whole, later = (train_dit.phases(device, go_on) for go_on in (False, True))
            self.assertEqual(whole[0][1], {1: 1.0})
            self.assertEqual([mix for _, mix in later], [mix for _, mix in whole[1:]])
            self.assertEqual([until for until, _ in later], sorted(until for until, _ in later))
            self.assertEqual(later[-1][0], 1.0)

    def test_each_phase_has_batches_and_whole_shares(self):
        for device, batches in train_dit._BATCHES.items():
            for _, mix in train_dit.phases(device, False):
                self.assertAlmostEqual(sum(mix.values()), 1.0)
                self.assertLessEqual(set(mix), set(batches))

    def test_a_step_without_captions_is_not_moved(self):
        torch.manual_seed(1)
        models = D.make(50)
        for p in models.parameters():
            p.data.add_(0.05 * torch.randn_like(p))
        models = models.bfloat16()
        empty = torch.zeros(settings.CAPTION_TOKENS, dtype=torch.long)
        empty[0] = 1
        latents = torch.randn(2, settings.LATENT_CHANNELS, 9, 4, 6)
        weight = torch.ones(2, 1, 9, 4, 6)
        for words, same in ((empty, True), (torch.arange(settings.CAPTION_TOKENS) % 7 + 3, False)):
            losses = []
            for guide in (False, True):
                torch.manual_seed(2)
                ids = words.expand(2, 2, -1)
                step = train_dit._Step(9, empty, "cpu")
                loss, _ = step(
                    models, (latents, ids, torch.full((2,), 99), weight, torch.tensor([False, True])), "cpu", False, guide
                )
                losses.append(loss.item())
            self.assertEqual(abs(losses[0] - losses[1]) < 1e-3 * losses[0], same, losses)


if __name__ == "__main__":
    unittest.main()
