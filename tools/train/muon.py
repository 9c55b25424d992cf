"""Muon for weights of any shape, AdamW for the rest, behind one optimizer-like object.

torch.optim.Muon takes matrices only; a convolution's weight is the matrix [out, in x taps], and the VAE is
nothing but convolutions. Momentum is orthogonalised by five Newton-Schulz steps, so that every direction of a
weight moves alike; updates are scaled to the size that AdamW's have, so that one learning rate serves both.
"""

import torch

from tools.train import run

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic whose iterates bring singular values near one
_MOMENTUM = 0.95


def _orthogonal(g):
    """[n, r, c] → the same with all singular values of each matrix near one."""
    x = g.bfloat16() if run.has_bfloat16(g.device) else g
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = _A * x + (_B * a + _C * a @ a) @ x
    return (x.mT if tall else x).to(g.dtype)


class Optimizer:
    """`matrices`: names of parameters that Muon moves, as a function of (name, parameter)."""

    def __init__(self, module, lr, matrices, weight_decay=0.0):
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.muon = [p for n, p in named if p.ndim >= 2 and matrices(n, p)]
        chosen = {id(p) for p in self.muon}
        self.momentum = [torch.zeros_like(p) for p in self.muon]
        self.weight_decay, self.lr = weight_decay, lr
        self.adam = torch.optim.AdamW([p for _, p in named if id(p) not in chosen], lr=lr, betas=(0.9, 0.98), weight_decay=0.0)

    def set_lr(self, lr):
        self.lr = lr
        for group in self.adam.param_groups:
            group["lr"] = lr

    def zero_grad(self):
        self.adam.zero_grad(set_to_none=True)
        for p in self.muon:
            p.grad = None

    @torch.no_grad()
    def step(self):
        self.adam.step()
        # Matrices of one shape go through Newton-Schulz together: on a GPU the launches would cost more than the work.
        groups = {}
        for p, m in zip(self.muon, self.momentum, strict=True):
            if p.grad is not None:
                m.lerp_(p.grad, 1 - _MOMENTUM)
                update = p.grad.lerp(m, _MOMENTUM).flatten(1)
                groups.setdefault(update.shape, []).append((p, update))
        for shape, members in groups.items():
            moved = _orthogonal(torch.stack([u for _, u in members]))
            for (p, _), u in zip(members, moved, strict=True):
                p.mul_(1 - self.lr * self.weight_decay)
                p.add_(u.view_as(p), alpha=-self.lr * 0.2 * max(shape) ** 0.5)

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        for m, old in zip(self.momentum, state["momentum"], strict=True):
            m.copy_(old)
