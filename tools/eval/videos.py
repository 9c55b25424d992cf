"""Makes the MP4 of a case: with the project's client against a running server, the torch generator, or the clip program."""

import json
import subprocess
import time

from tools.clips.scene import block_start_frame
from tools.video import write_mp4

_FPS = 16


def _latent_frames(seconds):
    return 1 + max(0, round((seconds * _FPS - 1) / 4))


class TorchMaker:
    """The reference generator. Knows prompt switches."""

    name, title = "torch", "reference generator"

    def __init__(self, folder):
        from tools.train import generate, run

        models, vae, stats, tok, told = generate.load(folder)
        dev = run.device()
        self.generator = generate.Generator(models.to(dev), vae.to(dev), stats, tok, told)

    def make(self, path, case):
        """Writes `path`. Returns seconds of video made per second of wall time."""
        start = time.monotonic()
        change = (case.switch[0], [case.switch[1]]) if case.switch else None
        latents = self.generator.latents([case.prompt], _latent_frames(case.seconds), case.seed, switch=change)
        video = self.generator.decode(latents)[0]
        write_mp4(path, video)
        return len(video) / _FPS / (time.monotonic() - start)


class ClientMaker:
    """`longtake generate`, against a server that somebody has started."""

    name, title = "client", "server"

    def __init__(self, client, server):
        self.client, self.server = client, server

    def make(self, path, case):
        """As above; the pace is that of the whole call, from the request to the last byte of the file."""
        command = [self.client, "generate", case.prompt, "--server", self.server, "--seconds", str(case.seconds)]
        command += ["--seed", str(case.seed), "--offline", "--json", "--quiet", "--output", path]
        if case.switch:
            # The first block at or after a time: half a frame early, so that rounding cannot make it the next one.
            command += ["--then", f"{(block_start_frame(case.switch[0]) - 0.5) / _FPS}:{case.switch[1]}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)["speed"]


class DrawnMaker:
    """The control: draws what a prompt says with the clip program.

    With `vae`, a model folder, the drawn clip goes through its VAE: no generator can be seen better than this.
    """

    def __init__(self, vae=None):
        self.name, self.title = ("vae", "drawn, through the VAE") if vae else ("drawn", "control: drawn clips")
        self.autoencoder = None
        if vae:
            from tools.train import generate, run

            self.autoencoder = generate.load(vae)[1].to(run.device())

    def make(self, path, case):
        from tools.clips import render

        frames = render(case.story, 0, 4 * _latent_frames(case.seconds) - 3)
        write_mp4(path, frames if self.autoencoder is None else self._reconstructed(frames))
        return None

    def _reconstructed(self, frames):
        import torch

        from tools.train import pictures, whole

        with torch.no_grad():
            x = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
            y = whole.decode(self.autoencoder, whole.encode(self.autoencoder, x)[0])
        return pictures.to_uint8(y.movedim(1, 2))[0]
