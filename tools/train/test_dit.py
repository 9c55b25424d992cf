"""The teacher-forced pass over all blocks equals making them one by one, prompt switch included."""

import unittest

import torch

from tools.train import dit as D
from tools.train import settings, tokenizer


class Untrained(unittest.TestCase):
    def test_words_begin_far_apart(self):
        rows = D.make(50)["text"].embed_tokens.weight.detach()
        self.assertEqual(rows[tokenizer.PAD].abs().max(), 0)
        self.assertGreater(rows[tokenizer.PAD + 1 :].norm(dim=1).min(), 0.7)


class TeacherEqualsStreamer(unittest.TestCase):
    def _compare(self, lengths, switch):
        torch.manual_seed(0)
        models = D.make(50).eval()
        with torch.no_grad():
            for p in models.parameters():
                p.add_(0.02 * torch.randn_like(p))
            batch, frames = 2, sum(lengths)
            shape = (batch, settings.LATENT_CHANNELS, frames, 4, 6)
            noisy, clean = torch.randn(shape), torch.randn(shape)
            levels = torch.rand(batch, len(lengths))[:1].expand(batch, -1) * 1000
            ids = torch.randint(3, 50, (batch * 2, 9))
            ids[:, 7:] = 0
            caption, bias = D.encode_text(models, ids, (ids != 0).long())
            caption, bias = caption.unflatten(0, (batch, 2)), bias.unflatten(0, (batch, 2))
            block = D.block_of(lengths)
            t = levels[:, block]
            choice = torch.stack([(block >= switch).long(), (block + 1 >= switch).long()])[:, None].expand(2, batch, frames)
            teacher = D.Teacher(lengths, "cpu")
            # A second noisy copy of each clip shares the clean stream and changes nothing for the first.
            copies = torch.cat([noisy, torch.randn(shape)])
            both, past = teacher(models, copies, clean, t.repeat(2, 1), caption, bias, choice)
            together = both[:batch]
            again, _ = teacher(models, copies, None, t.repeat(2, 1), caption, bias, choice, past)
            self.assertLess(((again - both).abs().max() / both.abs().max()).item(), 1e-6)
            streamer, first = D.Streamer(models), 0
            for j, n in enumerate(lengths):
                part = slice(first, first + n)
                now = int(j >= switch)
                if j == switch:
                    streamer.recommit(caption[:, 1], bias[:, 1])
                alone = streamer.velocity(noisy[:, :, part], levels[0, j], caption[:, now], bias[:, now])
                error = (alone - together[:, :, part]).abs().max() / together.abs().max()
                self.assertLess(error.item(), 2e-5, f"block {j}")
                streamer.commit(clean[:, :, part], caption[:, now], bias[:, now])
                first += n

    def test_long_first_block_and_full_window(self):
        self._compare([5, 4, 4, 4, 4, 4], switch=99)

    def test_prompt_switch(self):
        self._compare([7, 4, 4, 4, 4], switch=3)


if __name__ == "__main__":
    unittest.main()
