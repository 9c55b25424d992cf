"""Cartoon clips with captions, drawn by a program and deterministic by seed.

`scene` decides what happens, `render` draws it before a `backdrop`, `captions` says it in words.
"""

from tools.clips.captions import caption
from tools.clips.render import render
from tools.clips.scene import Scene, Story, held_out, sample_scene, sample_story, sample_tale

__all__ = ["Scene", "Story", "caption", "held_out", "render", "sample_scene", "sample_story", "sample_tale"]
