"""Cases of the tokenizer: token ids of odd texts, from sentencepiece and from transformers.

Control pieces named in a text are text (engine/models/text/vocabulary.h). sentencepiece does that where the model file
says that the piece is a control piece, `tokenizers` with encode_special_tokens where tokenizer.json says that it is
special; the references are told so for all of them, the files of the cases are as Gemma's are.
"""

import json
import random
import re
from pathlib import Path

import sentencepiece
import tokenizers
import torch
from transformers import AddedToken, GemmaTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from tools.export import tokenizer
from tools.export.folder import ModelFolder, write_case

_SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}

ODD_TEXTS = [
    "",
    " ",
    "  ",
    "     ",
    "A red boat drifts slowly left over a meadow",
    " leading and trailing ",
    "double  space   and    more     of      them",
    "tab\tand\t\ttabs",
    "one\ntwo\n\nthree\n\n\nfour\n\n\n\nfive\n\n\n\n\n\n\nend\n",
    "\n \n  \n",
    "\r\n carriage return \r",
    "\u2581 the space's own sign \u2581\u2581 and \u2581\u2581\u2581\u2581",
    "\u2460 \u2167 \ufb01 \uff21\uff22 \u00bd",
    "a\u0301 e\u0301\u0323 \u00e9 n\u0303 \u1e9b\u0323",
    "\u00a0no-break\u00a0 \u2003em\u2003 \u200bzero\u200b width\ufeff",
    "\U0001f388 \U0001f6a2 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "绿色的船在海上，绿色的气球。",
    "красный мяч — красный шар",
    "ボールが動く。",
    "\u05e1\u05e4\u05d9\u05e0\u05d4 \u05d9\u05e8\u05d5\u05e7\u05d4 \u0633\u0641\u064a\u0646\u0629 \u202eabc\u202c",
    "\u0e40\u0e23\u0e37\u0e2d\u0e2a\u0e35\u0e40\u0e02\u0e35\u0e22\u0e27",
    "\x00 \x01\x02 \x7f \x1b[0m",
    "\ue000 \ufffd \uffff \U00010000 \U0010ffff",
    "<bos> <eos> <pad> <unk> <mask>",
    "<bos>A red boat<eos>",
    "<start_of_turn>user\nA red boat<end_of_turn>\n<start_of_turn>model\n",
    "<unused0><unused1><unused2> <2mass> [@BOS@]",
    "<table><b>bold</b></table> <B> < b >",
    "<0x41> <0x0A> <0xFF>",
    "<s>[INST]</s>",
    "1234567890 3.14159 1,000,000",
    "motion score: 10.",
    "don't   can\u2019t \u201cquoted\u201d \u2026",
    '{"json": [1, 2]} https://example.org/?a=b&c=d',
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "the the  the   the",
]


def long_texts(rng: random.Random) -> list[str]:
    """About 4 KB each: words, one letter, spaces, and characters of everywhere."""
    everywhere = ""
    while len(everywhere.encode()) < 4000:
        code = rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x3000), rng.randrange(0x110000)])
        everywhere += "" if 0xD800 <= code < 0xE000 else chr(code)
    words = " ".join(tokenizer.sentences(90, rng.randrange(1000)))
    return [words[:4096], "e" * 4096, " " * 4095 + "a", everywhere]


def _control(text: str) -> bool:
    return text in tokenizer.CONTROL_SYMBOLS


def _add_model(folder: Path, seed: int) -> sentencepiece.SentencePieceProcessor:
    """Writes tokenizer.model and returns the reference."""
    processor = tokenizer.train_like_gemma(folder / "tokenizer.model", seed)
    model = processor.serialized_model_proto()
    for symbol in filter(_control, tokenizer.CONTROL_SYMBOLS):
        # The piece: text (field 1), score (2, four bytes), type (3), which becomes 3, CONTROL, from 4, USER_DEFINED.
        piece = re.escape(bytes([0x0A, len(symbol)]) + symbol.encode())
        model, count = re.subn(piece + rb"(\x15....\x18)\x04", lambda m: m[0][:-1] + b"\x03", model, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the model file has {count} pieces {symbol}")
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def _add_json(folder: Path, processor: sentencepiece.SentencePieceProcessor, as_pairs: bool) -> tokenizers.Tokenizer:
    """Writes tokenizer.json as transformers saves it, with merges as pairs or as strings, and returns the reference."""
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    saved = GemmaTokenizerFast(vocab=vocabulary, merges=generate_merges(vocabulary), add_bos_token=True, **_SPECIAL)
    symbols = tokenizer.CONTROL_SYMBOLS + tokenizer.TEXT_SYMBOLS
    saved.add_tokens([AddedToken(s, normalized=False, special=s.endswith("_turn>")) for s in symbols])
    saved.save_pretrained(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    if not as_pairs:
        content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    for token in content["added_tokens"]:
        token["special"] = token["special"] or _control(token["content"])
    reference = tokenizers.Tokenizer.from_str(json.dumps(content))
    reference.encode_special_tokens = True
    if GemmaTokenizerFast.from_pretrained(folder)("a red boat")["input_ids"] != reference.encode("a red boat").ids:
        raise ValueError("the reference is not the tokenizer that transformers loads")
    return reference


def cases(out: Path, name: str, rng: random.Random) -> None:
    """One case for tokenizer.model, one for tokenizer.json, on the same texts."""
    texts = ODD_TEXTS + long_texts(rng)
    data = [text.encode() for text in texts]
    inputs = {
        "bytes": torch.tensor(list(b"".join(data)), dtype=torch.uint8),
        "byte_counts": torch.tensor([len(d) for d in data]),
    }

    def write(kind: str, ids: list[list[int]]) -> None:
        joined = torch.tensor([i for text in ids for i in text], dtype=torch.float32)
        write_case(out, f"{name}_{kind}", "tokenizer", f"{name}_{kind}", inputs, [({"input_ids": joined}, {})])

    model_folder = ModelFolder(out, f"{name}_model")
    processor = _add_model(model_folder.add_component("tokenizer"), rng.randrange(1000))
    model_folder.close()
    write("model", [[processor.bos_id(), *processor.encode(text)] for text in texts])

    json_folder = ModelFolder(out, f"{name}_json")
    reference = _add_json(json_folder.add_component("tokenizer"), processor, as_pairs=rng.random() < 0.5)
    json_folder.close()
    write("json", [reference.encode(text).ids for text in texts])
