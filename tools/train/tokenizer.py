"""The SentencePiece tokenizer: trained on captions, used as the engine uses it."""

import io
import os
import random

import sentencepiece
import torch

from tools.clips import caption, sample_scene
from tools.clips import vocabulary as V
from tools.clips.scene import changed
from tools.train import settings

PAD, BOS, UNKNOWN = 0, 1, 2
_CAPTIONS = 10000  # enough for every wording to occur; drawing them takes four seconds

# Words that no caption uses yet, for wider clips still.
_SPARE = "sun cloud flower cat dog train plane spins bounces circles still then turns stops two three grows jumps behind"


def train(path, seed=0):
    """Writes a SentencePiece model: pad 0, BOS 1, unknown 2, no EOS; lower case is the caller's business."""
    rng = random.Random(seed)
    text = [_SPARE] * 200
    for _ in range(_CAPTIONS):
        # Of the widest clips, so that a model that began with few words keeps its tokenizer when it learns more.
        scene = sample_scene(rng, V.LEVELS[-1])
        text.append(caption(changed(rng, scene, V.LEVELS[-1]) or scene, rng))
    # Every letter and mark that a prompt may hold, so that a word never seen is spelled and not unknown.
    text += ["abcdefghijklmnopqrstuvwxyz", "0123456789 , . ' - ! ? : ; ( )"] * 50
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type="bpe",  # its pieces are the captions' words; unigram cuts most of these 134 into syllables (measured)
        vocab_size=settings.VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=PAD,
        bos_id=BOS,
        unk_id=UNKNOWN,
        eos_id=-1,
        bos_piece="<bos>",
        normalization_rule_name="identity",
        num_threads=2,
        minloglevel=2,
    )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(model.getvalue())


class Tokenizer:
    """Text → ids and mask, padded on the right to a fixed length (section 2 of the specification, no prefix)."""

    def __init__(self, path, length=settings.CAPTION_TOKENS):
        self.model = sentencepiece.SentencePieceProcessor(model_file=path)
        self.length = length

    def __len__(self):
        return len(self.model)

    def encode(self, text):
        ids = [BOS, *self.model.encode(text.strip().lower())][: self.length]
        return ids + [PAD] * (self.length - len(ids))

    def batch(self, texts):
        """ids, mask: int64 [n, length]."""
        ids = torch.tensor([self.encode(t) for t in texts])
        return ids, (ids != PAD).long()
