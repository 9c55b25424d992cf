"""Makes the MP4 of a prompt: with the torch generator, or with the project's client against a running server."""

import json
import os
import subprocess
import time

from tools.clips.scene import block_start_frame
from tools.video import write_mp4

_FPS = 16


class TorchMaker:
    """The reference generator. Knows prompt switches."""

    def __init__(self, folder):
        from tools.train import generate, run

        models, vae, stats, tok, told = generate.load(folder)
        dev = run.device()
        self.generator = generate.Generator(models.to(dev), vae.to(dev), stats, tok, told)

    def make(self, path, prompt, seconds, seed, switch=None):
        """Writes `path`; switch: (block, prompt). Returns seconds of video made per second of wall time."""
        start = time.monotonic()
        frames = self.generator.latent_frames(seconds)
        change = (switch[0], [switch[1]]) if switch else None
        latents = self.generator.latents([prompt], frames, seed, switch=change)
        video = self.generator.decode(latents)[0]
        write_mp4(path, video)
        return len(video) / 16 / (time.monotonic() - start)


class ClientMaker:
    """`longtake generate`, against a server that somebody has started."""

    def __init__(self, client, server):
        self.client, self.server = client, server

    def make(self, path, prompt, seconds, seed, switch=None):
        """As above; the pace is that of the whole call, from the request to the last byte of the file."""
        command = [self.client, "generate", prompt, "--server", self.server, "--seconds", str(seconds), "--seed", str(seed)]
        command += ["--offline", "--json", "--quiet", "--output", path]
        if switch:
            # The first block at or after a time: half a frame early, so that rounding cannot make it the next one.
            command += ["--then", f"{(block_start_frame(switch[0]) - 0.5) / _FPS}:{switch[1]}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)["speed"]


class DrawnMaker:
    """The control: draws what a prompt says with the clip program. `stories` maps prompts to stories.

    With `vae`, a model folder, the drawn clip goes through its VAE: no generator can be seen better than this.
    """

    def __init__(self, stories, vae=None):
        self.stories, self.autoencoder = stories, None
        if vae:
            from tools.train import generate, run

            self.autoencoder = generate.load(vae)[1].to(run.device())

    def make(self, path, prompt, seconds, seed, switch=None):
        from tools.clips import render

        story = self.stories[prompt, switch[1] if switch else None]
        frames = render(story, 0, 1 + 4 * round((seconds * 16 - 1) / 4))
        write_mp4(path, frames if self.autoencoder is None else self._reconstructed(frames))
        return None

    def _reconstructed(self, frames):
        import torch

        from tools.train import pictures, whole

        with torch.no_grad():
            x = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
            y = whole.decode(self.autoencoder, whole.encode(self.autoencoder, x)[0])
        return pictures.to_uint8(y.movedim(1, 2))[0]


def once(path, make, look):
    """Makes a video and looks at it, unless both are done: what was found lies beside it as JSON.

    `make(path)` returns the pace or None, `look(path)` a dictionary. Files are written under other names first: a killed run
    leaves no half of one behind.
    """
    notes = path.removesuffix(".mp4") + ".json"
    if os.path.exists(notes):
        with open(notes) as file:
            return json.load(file)
    part = path.removesuffix(".mp4") + ".part.mp4"
    pace = make(part)
    found = {"pace": pace, **look(part)}
    os.replace(part, path)
    with open(notes + ".part", "w") as file:
        json.dump(found, file)
    os.replace(notes + ".part", notes)
    return found
