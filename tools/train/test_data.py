"""What training is fed with: block lengths, tokens, object masks, and checkpoints that survive a kill."""

import dataclasses
import os
import random
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch

from tools.clips import caption, render, sample_scene, sample_story
from tools.clips import vocabulary as V
from tools.clips.scene import changed
from tools.train import cache, dit, run, settings, tokenizer, train_dit


class Data(unittest.TestCase):
    def test_first_block_takes_the_remainder(self):
        self.assertEqual(settings.block_lengths(3), [3])
        self.assertEqual(settings.block_lengths(4), [4])
        self.assertEqual(settings.block_lengths(7), [7])
        self.assertEqual(settings.block_lengths(25), [5, 4, 4, 4, 4, 4])
        self.assertEqual(settings.block_lengths(241), [5] + [4] * 59)

    def test_tokenizer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "t", "tokenizer.model")
            tokenizer.train(path)
            tok = tokenizer.Tokenizer(path)
        self.assertEqual((tok.model.pad_id(), tok.model.bos_id(), tok.model.unk_id(), tok.model.eos_id()), (0, 1, 2, -1))
        rng = random.Random(0)
        for i in range(300):
            scene = sample_scene(rng, V.LEVELS[i % 3])
            text = caption(changed(rng, scene, V.LEVELS[i % 3]) or scene, rng)
            ids = tok.encode(text)
            self.assertNotIn(tokenizer.UNKNOWN, ids)
            self.assertEqual((ids[0], len(ids), ids[-1]), (tokenizer.BOS, settings.CAPTION_TOKENS, tokenizer.PAD), text)
        words = "a big yellow star moves left over the sea at night"
        self.assertEqual(sum(i != tokenizer.PAD for i in tok.encode(words)), 1 + len(words.split()))
        self.assertNotIn(tokenizer.UNKNOWN, tok.encode("Two zebras, quickly!"))
        self.assertEqual(tok.encode(" A Red Ball "), tok.encode("a red ball"))
        self.assertEqual(len(tok.encode("star " * 100)), settings.CAPTION_TOKENS)

    def test_object_mask_covers_the_object(self):
        for seed in range(6):
            story = sample_story(random.Random(seed))
            mask = cache.object_mask(story, 25)
            away = dataclasses.replace(story, x=story.x + 128, y=story.y + 64)
            for latent in (0, 6, 24):
                a, b = (render(s, 4 * latent, 4 * latent + 1)[0].astype(int) for s in (story, away))
                both = np.abs(a - b).sum(2) > 60
                own = both.reshape(10, 16, 16, 16).any((1, 3))
                other = cache.object_mask(away, 25)[latent]
                self.assertFalse((own & ~mask[latent] & ~other).any(), f"{seed} {latent}")
            self.assertLess(mask.mean(), 0.6)

    def test_a_block_before_the_first_to_be_learned_weighs_nothing(self):
        clips = iter(cache._Clips("learned", V.BUNDLED, 13))
        items = {}
        while set(items) != {0, 1, 2}:  # 2: the object stands still for two blocks, of 17 and 16 frames
            item = next(clips)
            items.setdefault(item[4], item)
        mask = items[2][3]
        self.assertTrue((mask[0] == mask[8]).all())
        self.assertFalse((mask[8] == mask[12]).all())
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.train(os.path.join(folder, "t.model"))
            latents = torch.zeros(settings.LATENT_CHANNELS, 13, *settings.LATENT)
            tok = tokenizer.Tokenizer(os.path.join(folder, "t.model"))
            cache._write(os.path.join(folder, "clips_0000.pt"), [(latents, *items[k][1:]) for k in (0, 1, 2)], tok)
            stored = cache.load(folder)
        zeros, ones = [0.0] * settings.LATENT_CHANNELS, [1.0] * settings.LATENT_CHANNELS
        # Of a clip that begins with a picture only that weighs nothing, but for one whose object stands still at first.
        for share, skipped_frames in ((0.0, (0, 5, 9)), (1.0, (1, 1, 9))):
            for k, skipped in enumerate(skipped_frames):
                one = train_dit._Data({key: value[k : k + 1] for key, value in stored.items()}, zeros, ones, "cpu")
                with mock.patch.object(train_dit, "_HELD", share):
                    *_, weight, held = one.batch(2, 13, torch.tensor(tok.encode("")))
                self.assertTrue((weight[:, :, :skipped] == 0).all() and (weight[:, :, skipped:] > 0).all(), k)
                self.assertEqual(held.tolist(), [share > 0 and k < 2] * 2)

    def test_a_held_frame_is_given_clean(self):
        step = train_dit._Step(9, torch.zeros(settings.CAPTION_TOKENS, dtype=torch.long), "cpu")
        seen = {}

        def teacher(models, noisy, clean, t, *rest, **past):
            seen.update(noisy=noisy, t=t)
            return noisy, None

        step.teacher = teacher
        latents = torch.randn(2, settings.LATENT_CHANNELS, 9, 4, 6).bfloat16().float()
        ids = torch.ones(2, 2, settings.CAPTION_TOKENS, dtype=torch.long)
        batch = (latents, ids, torch.full((2,), 99), torch.ones(2, 1, 9, 4, 6), torch.tensor([False, True]))
        with mock.patch.object(
            dit, "encode_text", lambda models, ids, mask: (torch.zeros(len(ids), 1), torch.zeros(len(ids), 1))
        ):
            models = {"dit": SimpleNamespace(proj_out=torch.nn.Linear(1, 1).bfloat16())}
            step(models, batch, "cpu", own_output=False, guide=False)
        for copy in range(train_dit._COPIES):
            plain, held = seen["noisy"][2 * copy], seen["noisy"][2 * copy + 1]
            self.assertTrue(torch.equal(held[:, 0].float(), latents[1, :, 0]))
            self.assertFalse(torch.equal(held[:, 1].float(), latents[1, :, 1]))
            self.assertFalse(torch.equal(plain[:, 0].float(), latents[0, :, 0]))
            self.assertEqual((seen["t"][2 * copy + 1] == 0).tolist(), [True] + [False] * 8)

    def test_stage_resumes_with_its_clock(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "stage.pt")
            net = torch.nn.Linear(2, 2)
            stage = run.Stage(path, 1.0, {"net": net})
            stage.step, stage._before = 7, 0.9
            stage.save()
            other = torch.nn.Linear(2, 2)
            again = run.Stage(path, 1.0, {"net": other})
            self.assertEqual(again.step, 7)
            self.assertTrue(torch.equal(net.weight, other.weight))
            self.assertFalse(again.done())
            self.assertTrue(0.9 <= again.used() < 1.0)
            self.assertTrue(run.Stage(path, 0.5, {"net": other}).done())


if __name__ == "__main__":
    unittest.main()
