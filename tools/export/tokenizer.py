"""A small SentencePiece model with the settings of Gemma's: BPE, byte fallback, no dummy prefix, spaces kept."""

import io
import random
from pathlib import Path

import sentencepiece

_THINGS = ["boat", "balloon", "car", "bird", "fish", "rocket", "star", "house", "tree", "cloud", "moon", "train"]
_COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "white", "black"]
_MOTIONS = ["drifts slowly left", "moves quickly right", "rises", "falls", "spins", "bounces", "turns around"]
_PLACES = ["over a meadow", "above the sea", "in the desert", "through falling snow", "under a night sky"]
_FORMS = [
    "A {colour} {thing} {motion} {place}.",
    "{place}, one {colour} {thing} {motion} while a {colour2} {thing2} {motion2}.",
    "The {thing} is {colour}; it {motion}.",
    "Then night falls and the {colour} {thing} {motion}, {number} times.",
    "Describe the scene in detail:\n- the {thing} is {colour}\n- it {motion} {place}\nUser prompt: {thing}",
    "motion score: {number}.",
]


def sentences(count: int, seed: int) -> list[str]:
    """Captions and instructions of the kind that the models are given."""
    rng = random.Random(seed)
    return [
        rng.choice(_FORMS).format(
            colour=rng.choice(_COLOURS),
            colour2=rng.choice(_COLOURS),
            thing=rng.choice(_THINGS),
            thing2=rng.choice(_THINGS),
            motion=rng.choice(_MOTIONS),
            motion2=rng.choice(_MOTIONS),
            place=rng.choice(_PLACES),
            number=rng.randrange(100),
        )
        for _ in range(count)
    ]


def train(path: Path, vocabulary: int = 420, seed: int = 0) -> sentencepiece.SentencePieceProcessor:
    """Writes tokenizer.model (256 byte pieces included in the vocabulary) and returns its processor."""
    model = io.BytesIO()
    # SentencePiece trains on lines; a newline inside a text is a piece of its own.
    corpus = [s.replace("\n", " ") for s in sentences(400, seed)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=model,
        vocab_size=vocabulary,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=["\n", "\n\n", "  "],
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        minloglevel=2,
        num_threads=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_file=str(path))
