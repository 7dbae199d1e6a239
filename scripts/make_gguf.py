#!/usr/bin/env python3
"""Writes a BERT in the layout of the transformers library as GGUF files, by the package gguf, as llama.cpp's converter
lays it out.

  make_gguf.py MODEL TARGET TYPE...   TARGET/TYPE.gguf of each: f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0 mixed

Matrices are of the named type, all else is F32. "mixed" has Q4_K, Q5_K and Q6_K by turns where a row is whole blocks of
256, and Q5_0 elsewhere, as llama.cpp falls back. Beside each lies TYPE.sums: of every tensor the SHA-256 of the 32-bit
floats that the package itself dequantizes it to, and its name.
"""
import hashlib
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

NAMES = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
QUANTS = gguf.GGMLQuantizationType


def read_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = {"F32": np.float32, "F16": np.float16, "I64": np.int64}[entry["dtype"]]
        yield name, np.frombuffer(data[begin:end], kind).reshape(entry["shape"])


def gguf_name(name):
    """The name in GGUF; nothing for a tensor that sentence embeddings do not use."""
    name = name.removeprefix("bert.")
    if name in NAMES:
        return NAMES[name]
    prefix = ""
    if name.startswith("encoder.layer."):
        _, _, layer, name = name.split(".", 3)
        prefix = f"blk.{layer}."
    stem, _, last = name.rpartition(".")
    return f"{prefix}{NAMES[stem]}.{last}" if stem in NAMES else None


def codes_of(rows, scale, minimum, high):
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.where(scale > 0, np.rint((rows - minimum) / scale), 0)
    return np.clip(codes, 0, high).astype(np.uint8)


def quantize_k(values, bits):
    """Q4_K and Q5_K: of each 32 elements a scale and a minimum of 6 bits, times two f16 of the 256."""
    rows = values.reshape(-1, 8, 32).astype(np.float32)
    low = np.minimum(rows.min(axis=2), 0)
    steps = (rows.max(axis=2) - low) / (2**bits - 1)
    super_scale = (steps.max(axis=1) / 63).astype(np.float16)
    super_minimum = ((-low).max(axis=1) / 63).astype(np.float16)
    wide_scale, wide_minimum = (s.astype(np.float32)[:, None] for s in (super_scale, super_minimum))
    scales = codes_of(steps, wide_scale, 0, 63)
    minima = codes_of(-low, wide_minimum, 0, 63)
    codes = codes_of(rows, (wide_scale * scales)[:, :, None], -(wide_minimum * minima)[:, :, None], 2**bits - 1)
    packed = np.empty((len(rows), 12), np.uint8)
    packed[:, 0:4] = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
    packed[:, 4:8] = minima[:, :4] | (minima[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    parts = [super_scale[:, None].view(np.uint8), super_minimum[:, None].view(np.uint8), packed]
    if bits == 5:
        parts.append(np.bitwise_or.reduce((codes >> 4) << np.arange(8, dtype=np.uint8)[None, :, None], axis=1))
    parts.append(((codes[:, 0::2] & 15) | ((codes[:, 1::2] & 15) << 4)).reshape(-1, 128))
    return np.concatenate(parts, axis=1)


def quantize_q6k(values):
    """Of each 16 elements a signed scale of 8 bits, times an f16 of the 256; codes of 6 bits."""
    rows = values.reshape(-1, 16, 16).astype(np.float32)
    steps = np.abs(rows).max(axis=2) / 31
    super_scale = (steps.max(axis=1) / 127).astype(np.float16)
    wide = super_scale.astype(np.float32)[:, None]
    scales = codes_of(steps, wide, 0, 127)
    scale = (wide * scales)[:, :, None]
    codes = codes_of(rows, scale, -32 * scale, 63).reshape(-1, 2, 4, 32)
    low = ((codes[:, :, :2] & 15) | ((codes[:, :, 2:] & 15) << 4)).reshape(-1, 128)
    high = np.bitwise_or.reduce((codes >> 4) << (2 * np.arange(4, dtype=np.uint8))[None, None, :, None], axis=2)
    return np.concatenate([low, high.reshape(-1, 64), scales, super_scale[:, None].view(np.uint8)], axis=1)


def quantize(values, kind):
    rows = len(values.reshape(-1, values.shape[-1]))
    if kind in (QUANTS.Q4_K, QUANTS.Q5_K):
        return quantize_k(values, 4 if kind == QUANTS.Q4_K else 5).reshape(rows, -1)
    if kind == QUANTS.Q6_K:
        return quantize_q6k(values).reshape(rows, -1)
    return gguf.quantize(values, kind)


def kind_of(name, values, wanted):
    # The converter keeps vectors, positions and types as they are.
    if values.ndim < 2 or name in ("position_embd.weight", "token_types.weight"):
        return QUANTS.F32
    if wanted != "mixed":
        kind = QUANTS[wanted.upper()]
        return kind if values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0 else QUANTS.F32
    if values.shape[-1] % 256 != 0:
        return QUANTS.Q5_0
    layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
    return (QUANTS.Q4_K, QUANTS.Q5_K, QUANTS.Q6_K)[layer % 3]


def add_vocabulary(writer, model):
    tokens = model.joinpath("vocab.txt").read_text(encoding="utf-8").split("\n")
    if tokens[-1] == "":
        tokens.pop()
    specials = {"[PAD]": writer.add_pad_token_id, "[UNK]": writer.add_unk_token_id, "[CLS]": writer.add_bos_token_id,
                "[SEP]": writer.add_sep_token_id, "[MASK]": writer.add_mask_token_id}
    written, types = [], []
    for index, token in enumerate(tokens):
        if token in specials:
            specials[token](index)
            written.append(token)
            types.append(gguf.TokenType.CONTROL)
        else:
            written.append(token[2:] if token.startswith("##") else "\u2581" + token)
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(written)
    writer.add_token_types(types)


def write(model, target, wanted):
    config = json.loads(model.joinpath("config.json").read_text())
    writer = gguf.GGUFWriter(target / f"{wanted}.gguf", "bert")
    writer.add_name(model.name)
    writer.add_license("apache-2.0")
    writer.add_source_url("https://example.org/" + model.name)
    writer.add_context_length(config["max_position_embeddings"])  # llama.cpp checks it against the table.
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(config["type_vocab_size"])
    add_vocabulary(writer, model)
    sums = []
    for name, values in read_safetensors(model / "model.safetensors"):
        name = gguf_name(name)
        if name is None:
            continue
        values = values.astype(np.float32)
        kind = kind_of(name, values, wanted)
        coded = quantize(values, kind)
        writer.add_tensor(name, coded, raw_dtype=kind)
        floats = gguf.dequantize(coded, kind).astype(np.float32)
        sums.append(f"{hashlib.sha256(floats.tobytes()).hexdigest()} {name}\n")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    target.joinpath(f"{wanted}.sums").write_text("".join(sums))


def main():
    model, target = (pathlib.Path(path) for path in sys.argv[1:3])
    target.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[3:]:
        write(model, target, wanted)


if __name__ == "__main__":
    main()
