"""Writes the seeds that are no texts: protobuf, safetensors, checkpoints, a tokenizer. The others are edited by hand.

.venv-test/bin/python tests/fuzz/make_seeds.py    # in the repository's root; protoc is of Debian
"""

import json
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"

REQUESTS = {
    "create": (
        "CreateVideoRequest",
        """spec { prompt: "a red ball bounces" seed: 7 size { width: 64 height: 48 } duration { seconds: 4 }
           prompt_changes { prompt: "night falls" at_offset { seconds: 2 nanos: 500000000 } } }
           delivery_options { delivery: DELIVERY_LIVE max_wait_duration { seconds: 5 } max_lead_duration { seconds: 4 }
             fidelity: FIDELITY_ADAPTIVE priority: 3 disconnect_policy: DISCONNECT_POLICY_PAUSE
             reconnect_timeout { seconds: 60 } } request_id: "again-1" """,
    ),
    "create_refused": (
        "CreateVideoRequest",
        """spec { prompt: " " negative_prompt: "text" duration { seconds: -1 nanos: 5 } model: "models/other"
           first_image: "image" adapters { name: "a" strength: 0.5 } prompt_changes { prompt: "x" } }
           delivery_options { priority: 1000 max_wait_duration { nanos: -1 } }""",
    ),
    "fork": (
        "ForkVideoRequest",
        """name: "videos/0123456789abcdef" from_block: 2 prompt: "a storm comes" duration { seconds: 6 }
           prompt_changes { prompt: "snow" at_offset { seconds: 4 } } request_id: "fork-1" """,
    ),
    "watch": (
        "WatchVideoRequest",
        """name: "videos/0123456789abcdef" resume_token: "01234567.3.1" follow: true viewer_id: "viewer-1" """,
    ),
    "change_prompt": (
        "ChangePromptRequest",
        """name: "videos/0123456789abcdef" change { prompt: "night falls" at_offset { seconds: 2 } }""",
    ),
    "playback": ("ReportPlaybackRequest", """name: "videos/01" viewer_id: "v" position_offset { seconds: 3 } paused: true"""),
}


def encoded(message: str, text: str) -> bytes:
    command = ["protoc", "-I", "proto", f"--encode=longtake.v1.{message}", "proto/longtake/v1/video_service.proto"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True, cwd=ROOT).stdout


def safetensors(header: dict[str, object] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def checkpoint(fields: bytes, memory: bytes) -> bytes:
    """The table of engine/runtime/checkpoint.h; the target makes size and checksum right."""
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"cpu/avx2/float32/0", b"0123456789abcdef"))
    body = texts + fields
    header = (28 + len(body) + 63) // 64 * 64
    start = b"LONGTAKE" + struct.pack("<IIQI", 1, 0, 0, header)
    return (start + body).ljust(header, b"\0") + memory


def small_tokenizer() -> dict[str, object]:
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "\n\n", "<b>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\u2581", "a", "b", "c", "ab", "abc", "bc", "\u2581a"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 2, "content": "<bos>", "special": True, "normalized": False, **flags},
            {"id": 4, "content": "\n\n", "special": False, "normalized": False, **flags},
            {"id": 5, "content": "<b>", "special": False, "normalized": True, **flags},
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
        },
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": [["b", "c"], ["a", "b"], ["a", "bc"], ["\u2581", "a"]],
        },
    }


def adapter(config: bytes, shapes: dict[str, list[int]], metadata: dict[str, str] | None = None, fill: float = 0.5) -> bytes:
    """The configuration's line, then a file of float32 tensors that all have the value `fill`."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return config + b"\n" + safetensors(header, struct.pack("<f", fill) * (at // 4))


def write_adapters() -> None:
    q, k, temp = ("transformer.b.0." + layer + ".lora_" for layer in ("to_q", "to_k", "temp"))
    metadata = {"lora_adapter_metadata": '{"transformer.r":1,"transformer.lora_alpha":2,"transformer.use_rslora":true}'}
    pair = {q + "A.weight": [1, 2], q + "B.weight": [2, 1]}
    write("adapter", "diffusers", adapter(b"", pair, metadata))
    config = b'{"r":2,"lora_alpha":4,"peft_type":"LORA","rank_pattern":{"to_q":1},"alpha_pattern":{"b\\\\.0.*":3}}'
    stacked = pair | {k + "A.default.weight": [2, 2], k + "B.default.weight": [2, 2]}
    write("adapter", "peft", adapter(config, stacked))
    kohya = {"lora_unet_b_0_to_k.lora_down.weight": [2, 2], "lora_unet_b_0_to_k.lora_up.weight": [2, 2]}
    write("adapter", "kohya", adapter(b"", kohya | {"lora_unet_b_0_to_k.alpha": []}))
    write("adapter", "convolution", adapter(b"", {temp + "A.weight": [1, 2, 3, 1], temp + "B.weight": [2, 1, 1, 1]}))
    write("adapter", "depthwise", adapter(b"", {"b.0.depth.lora_A.weight": [1, 1, 3, 3]}))
    write("adapter", "dora", adapter(b"", pair | {q + "magnitude_vector": [2]}))
    write("adapter", "rank_0", adapter(b"", {q + "A.weight": [0, 2], q + "B.weight": [2, 0]}))
    write("adapter", "nan", adapter(b"", pair, fill=float("nan")))
    write("adapter", "config_dora", adapter(b'{"r":1,"use_dora":true}', pair))


def write_pictures() -> None:
    """Encoded by OpenCV; with EXIF before the JPEG's tables."""
    rows = np.linspace(0, 255, 12 * 10 * 3).reshape(10, 12, 3).astype(np.uint8)
    files = {kind: cv2.imencode("." + kind, rows)[1].tobytes() for kind in ("png", "jpg", "webp")}
    for kind, file in files.items():
        write("picture", kind, file)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x112, 3, 1, 6) + bytes(4)
    write("picture", "jpg_turned", files["jpg"][:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + files["jpg"][2:])
    write("picture", "png_large", files["png"][:16] + struct.pack(">II", 60000, 60000) + files["png"][24:])
    write("picture", "webp_animated", b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 2) + bytes(6))


def write_tiny_decoders() -> None:
    """Of one channel everywhere; one of an impossible shape; one of the wide architecture."""
    shapes: dict[str, list[int]] = {}

    def conv(name: str, outputs: int, inputs: int) -> None:
        shapes.update({name + ".weight": [outputs, inputs, 3, 3], name + ".bias": [outputs]})

    conv("decoder.1", 1, 1)
    for layer in (3, 9, 15):
        for block in range(layer, layer + 3):
            for number in (0, 2, 4):
                conv(f"decoder.{block}.conv.{number}", 1, 2 if number == 0 else 1)
        shapes |= {f"decoder.{layer + 4}.conv.weight": [2, 1, 1, 1], f"decoder.{layer + 5}.weight": [1, 1, 3, 3]}
    conv("decoder.22", 3, 1)
    write("tiny_decoder", "whole", adapter(b"", shapes)[1:])
    write("tiny_decoder", "five_rows", adapter(b"", shapes | {"decoder.22.weight": [5, 1, 3, 3], "decoder.22.bias": [5]})[1:])
    write("tiny_decoder", "wide", adapter(b"", shapes | {"decoder.0.weight": [1, 1, 1, 1]})[1:])
    write("tiny_decoder", "empty", adapter(b"", {})[1:])


def write(target: str, name: str, content: bytes) -> None:
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def main() -> None:
    for name, (message, text) in REQUESTS.items():
        kind = name.removesuffix("_refused")
        write("requests", name, kind.encode() + b"\n" + encoded(message, text))

    two = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
        "none": {"dtype": "I64", "shape": [0, 5], "data_offsets": [22, 22]},
    }
    write("safetensors", "two", safetensors(two, bytes(22)))
    write("safetensors", "empty", safetensors({}, b""))
    bytes_at = {name: {"dtype": "U8", "shape": [4], "data_offsets": at} for name, at in (("a", [0, 4]), ("b", [2, 6]))}
    write("safetensors", "overlap", safetensors(bytes_at, bytes(6)))
    huge = {"a": {"dtype": "F32", "shape": [2**31, 2**31, 4], "data_offsets": [0, 2**63]}}
    write("safetensors", "huge", safetensors(huge, bytes(8)))
    write("safetensors", "deep", safetensors(b'{"a":' + b"[" * 200, b""))
    write("safetensors", "length", struct.pack("<Q", 2**64 - 1) + b"{}")

    fields = struct.pack("<iiiQ", 32, 32, 3, 7) + struct.pack("<iii", 1, 1, 0) + struct.pack("<qqqq", 4, 0, 0, 0) + b"\1\0"
    write("checkpoint", "right", checkpoint(fields, bytes(64)))
    write("checkpoint", "short", checkpoint(fields[:9], b""))
    style = struct.pack("<I", 5) + b"style" + struct.pack("<d", 0.5) + struct.pack("<I", 16) + b"0000000000000001"
    adapters = bytearray(checkpoint(fields + struct.pack("<I", 1) + style, bytes(64)))
    adapters[8] = 2  # the version that has them
    write("checkpoint", "adapters", bytes(adapters))
    nan = bytes(adapters).replace(b"style" + struct.pack("<d", 0.5), b"style" + struct.pack("<d", float("nan")))
    write("checkpoint", "adapters_nan", nan)
    digest = struct.pack("<I", 16) + b"0000000000000001"
    image = bytearray(checkpoint(fields + struct.pack("<I", 0) + digest, bytes(64)))
    image[8] = 3
    write("checkpoint", "first_image", bytes(image))

    write_adapters()
    write_pictures()
    write_tiny_decoders()
    write("tokenizer_files", "small.json", b"json\n" + json.dumps(small_tokenizer(), separators=(",", ":")).encode())
    bundled = ROOT / "models/longtake-tiny/tokenizer/tokenizer.model"
    write("tokenizer_files", "bundled.model", b"model\n" + bundled.read_bytes())


if __name__ == "__main__":
    main()
