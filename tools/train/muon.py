"""Muon for weights of any shape, AdamW for the rest, behind one optimizer-like object.

torch.optim.Muon takes matrices only; a convolution's weight is the matrix [out, in x taps], and the VAE is
nothing but convolutions. Momentum is orthogonalised by five Newton-Schulz steps, so that every direction of a
weight moves alike; updates are scaled to the size that AdamW's have, so that one learning rate serves both.
"""

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic whose iterates bring singular values near one
_MOMENTUM = 0.95


def _orthogonal(g):
    x = g.bfloat16() if g.is_cuda else g
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = _A * x + (_B * a + _C * a @ a) @ x
    return (x.T if tall else x).to(g.dtype)


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
        for p, m in zip(self.muon, self.momentum, strict=True):
            if p.grad is None:
                continue
            m.lerp_(p.grad, 1 - _MOMENTUM)
            update = p.grad.lerp(m, _MOMENTUM).flatten(1)
            scale = 0.2 * max(update.shape) ** 0.5
            p.mul_(1 - self.lr * self.weight_decay)
            p.add_(_orthogonal(update).view_as(p), alpha=-self.lr * scale)

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        for m, old in zip(self.momentum, state["momentum"], strict=True):
            m.copy_(old)
