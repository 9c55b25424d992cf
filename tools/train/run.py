"""A stage's clock and checkpoint: what makes training resumable and bounded by wall time."""

import copy
import os
import shutil
import time

import torch

CHECKPOINT_SECONDS = 90  # a killed run loses at most two minutes


def device():
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(dev):
    """Whether the device has instructions for products of bfloat16. Without them these take twice as long as float32's
    (AVX-512 of an Ice Lake: a step of the DiT 6.2 s, in float32 3.3)."""
    return dev.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast(dev):
    """bfloat16 matrix products where they are fast, float32 everything else."""
    return torch.autocast(dev.type, dtype=torch.bfloat16, enabled=has_bfloat16(dev))


def workers_loader(dataset, workers):
    """An iterator over what `dataset` yields, made in `workers` processes.

    Arrays come through shared memory where there is room for it, else through pipes: containers often have
    64 MiB of it, and a worker that finds no room dies without a word.
    """
    shared = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, prefetch_factor=2, collate_fn=_to_tensor if shared else _keep
    )
    return iter(loader)


def _keep(item):
    return item


def _to_tensor(item):
    parts = item if isinstance(item, tuple) else (item,)
    parts = tuple(torch.from_numpy(p) if hasattr(p, "__array_interface__") else p for p in parts)
    return parts if isinstance(item, tuple) else parts[0]


class Twin:
    """A module's twin for forward and backward passes, in bfloat16 where that is fast; the module keeps the float32 weights.

    Unlike autocast it casts each weight once a step and no activation at all. Buffers (rotary tables) stay float32.
    """

    def __init__(self, module):
        self.module = copy.deepcopy(module)
        self.dtype = torch.bfloat16 if has_bfloat16(next(module.parameters()).device) else torch.float32
        for p in self.module.parameters():
            p.data = p.data.to(self.dtype)
        self._pairs = list(zip(module.parameters(), self.module.parameters(), strict=True))

    @torch.no_grad()
    def load(self):
        """Takes the module's weights as they are now."""
        torch._foreach_copy_([b for _, b in self._pairs], [a for a, _ in self._pairs])

    def give_gradients(self):
        """Hands the twin's gradients to the module."""
        for a, b in self._pairs:
            a.grad, b.grad = None if b.grad is None else b.grad.float(), None


class Stage:
    """Counts the minutes a stage has used over all its runs, and saves and loads what it trains.

    `parts` maps names to objects with state_dict / load_state_dict. A checkpoint is written beside the old
    one and then takes its name, so a kill at any moment leaves a whole one.
    """

    def __init__(self, path, minutes, parts):
        self.path, self.minutes, self.parts = path, minutes, parts
        self.step, self.log = 0, []
        self._before = 0.0
        if os.path.exists(path):
            state = torch.load(path, map_location="cpu", weights_only=False)
            self.step, self.log, self._before = state["step"], state["log"], state["minutes"]
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            print(f"{path}: resumed at step {self.step}, {self._before:.1f} of {minutes:.1f} minutes used", flush=True)
        self._start = self._saved = time.monotonic()

    def used(self):
        """Minutes used so far, earlier runs included."""
        return self._before + (time.monotonic() - self._start) / 60

    def share(self):
        """How far the stage is, 0…1."""
        return min(1.0, self.used() / max(self.minutes, 1e-9))

    def done(self):
        return self.used() >= self.minutes

    def due(self):
        """True when a checkpoint should be written."""
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def save(self):
        state = {
            "step": self.step,
            "log": self.log,
            "minutes": self.used(),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        torch.save(state, self.path + ".new")
        os.replace(self.path + ".new", self.path)
        self._saved = time.monotonic()


class Ema:
    """A running average of a module's weights; short at first, so that early steps are forgotten."""

    def __init__(self, module, decay):
        self.decay, self.steps = decay, 0
        self.values = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module):
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 10))
        state = module.state_dict()
        names = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.values[k] for k in names], [state[k] for k in names], share)

    def state_dict(self):
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state):
        self.steps = state["steps"]
        for k, v in self.values.items():
            v.copy_(state["values"][k])
