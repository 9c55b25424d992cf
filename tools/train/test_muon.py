"""Muon's update: orthogonal directions, a size like AdamW's, the same for stacked matrices as for one."""

import unittest

import torch

from tools.train import muon


class Muon(unittest.TestCase):
    def test_singular_values_come_near_one(self):
        torch.manual_seed(0)
        for shape in ((3, 24, 60), (2, 60, 24)):
            values = torch.linalg.svdvals(muon._orthogonal(torch.randn(shape)))
            self.assertGreater(values.min().item(), 0.6)
            self.assertLess(values.max().item(), 1.3)

    def test_stacking_changes_nothing(self):
        torch.manual_seed(0)
        g = torch.randn(4, 16, 48)
        together = muon._orthogonal(g)
        for i in range(4):
            self.assertTrue(torch.allclose(muon._orthogonal(g[i : i + 1])[0], together[i], atol=1e-5))

    def test_fits_a_convolution_and_resumes(self):
        torch.manual_seed(0)
        target = torch.nn.Conv3d(4, 6, 3)
        x = torch.randn(8, 4, 3, 5, 5)
        y = target(x).detach()

        def run(net, optimizer, steps):
            for _ in range(steps):
                loss = (net(x) - y).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            return loss.item()

        net = torch.nn.Conv3d(4, 6, 3)
        optimizer = muon.Optimizer(net, 0.02, lambda name, p: True)
        first = run(net, optimizer, 1)
        state, weights = optimizer.state_dict(), {k: v.clone() for k, v in net.state_dict().items()}
        copy = torch.nn.Conv3d(4, 6, 3)
        copy.load_state_dict(weights)
        resumed = muon.Optimizer(copy, 0.02, lambda name, p: True)
        import copy as copying

        resumed.load_state_dict(copying.deepcopy(state))
        last = run(net, optimizer, 60)
        self.assertLess(last, 0.1 * first)
        self.assertAlmostEqual(run(copy, resumed, 60), last, places=5)


if __name__ == "__main__":
    unittest.main()
