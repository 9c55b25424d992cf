"""Makes the MP4 of a prompt: with the torch generator, or with the project's client against a running server."""

import os
import subprocess
import time

from tools.video import write_mp4


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
    """`longtake generate`, against a server that somebody has started. No prompt switches yet."""

    def __init__(self, client):
        self.client = client

    def make(self, path, prompt, seconds, seed, switch=None):
        if switch:
            return None
        start = time.monotonic()
        command = [self.client, "generate", prompt, "--seconds", str(seconds), "--seed", str(seed), "--output", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return seconds / (time.monotonic() - start)


class DrawnMaker:
    """The control: draws what a prompt says with the clip program. `stories` maps prompts to stories."""

    def __init__(self, stories):
        self.stories = stories

    def make(self, path, prompt, seconds, seed, switch=None):
        from tools.clips import render

        story = self.stories[prompt, switch[1] if switch else None]
        write_mp4(path, render(story, 0, 1 + 4 * round((seconds * 16 - 1) / 4)))
        return None


def make_whole(maker, path, *args, **options):
    """Makes a video unless it is there, under another name first: a killed run leaves no half of one behind."""
    if os.path.exists(path):
        return None
    part = path.removesuffix(".mp4") + ".part.mp4"
    pace = maker.make(part, *args, **options)
    if os.path.exists(part):
        os.replace(part, path)
    return pace
