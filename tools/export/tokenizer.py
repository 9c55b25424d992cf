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


# Looked for in a text before it is cut; as in Gemma's file, where there are some 200 of them. Control pieces among them.
CONTROL_SYMBOLS = ["<mask>", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<unused1>"]
TEXT_SYMBOLS = ["\n", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "<table>", "<b>", "</b>"]

_OTHER_SCRIPTS = [
    "绿色的船 绿色的气球",
    "красный мяч, красный шар",
    "Ein roter Ball über dem Meer, façade, naïve",
    "  indented   text  with    spaces",
    "ボールが動く ボール",
]


def train(
    path: Path, vocabulary: int = 420, seed: int = 0, more_text: tuple[str, ...] = (), **options
) -> sentencepiece.SentencePieceProcessor:
    """Writes tokenizer.model (256 byte pieces included in the vocabulary) and returns its processor."""
    model = io.BytesIO()
    # SentencePiece trains on lines; a newline inside a text is a piece of its own.
    corpus = [s.replace("\n", " ") for s in sentences(400, seed)] + list(more_text)
    settings = {
        "vocab_size": vocabulary,
        "model_type": "bpe",
        "byte_fallback": True,
        "split_digits": True,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "user_defined_symbols": ["\n", "\n\n", "  "],
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "minloglevel": 2,
        "num_threads": 1,
    }
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=model, **settings | options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def train_like_gemma(path: Path, seed: int = 0) -> sentencepiece.SentencePieceProcessor:
    """A model with the symbols and the names of Gemma's, and pieces of several scripts."""
    return train(
        path,
        vocabulary=640,
        seed=seed,
        more_text=tuple(_OTHER_SCRIPTS * 20),
        user_defined_symbols=CONTROL_SYMBOLS + TEXT_SYMBOLS,
        bos_piece="<bos>",
        eos_piece="<eos>",
    )
