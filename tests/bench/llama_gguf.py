#!/usr/bin/env python3
"""Writes a BERT of safetensors as GGUF, matrices in Q8_0, for llama.cpp: a peer of bench "inference".

    llama_gguf.py MODEL_DIR OUTPUT.gguf

Names and keys as the PyPI package gguf has them for MODEL_ARCH.BERT.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

LAYER_PARTS = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
               "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
               "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
EMBEDDINGS = {"word_embeddings.weight": "token_embd.weight", "position_embeddings.weight": "position_embd.weight",
              "token_type_embeddings.weight": "token_types.weight", "LayerNorm.weight": "token_embd_norm.weight",
              "LayerNorm.bias": "token_embd_norm.bias"}


def their_name(name):
    """None for what a sentence embedding does not need."""
    if name.startswith("embeddings."):
        return EMBEDDINGS.get(name.removeprefix("embeddings."))
    if not name.startswith("encoder.layer."):
        return None
    index, rest = name.removeprefix("encoder.layer.").split(".", 1)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{index}.{LAYER_PARTS[module]}.{kind}"


def main():
    folder, output = pathlib.Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(output, "bert")
    writer.add_name("bench")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    # Word beginnings carry a mark, continuations have none.
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[: config["vocab_size"]]
    special = {word: words.index(word) for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    writer.add_tokenizer_model("bert")
    writer.add_token_list([word if word in special else word[2:] if word.startswith("##") else "\u2581" + word
                           for word in words])
    writer.add_token_types([int(gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL)
                            for word in words])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_mask_token_id(special["[MASK]"])
    for name, value in sorted(load_file(folder / "model.safetensors").items()):
        theirs = their_name(name.removeprefix("bert."))
        if theirs is None:
            continue
        value = value.astype(np.float32)
        kind = gguf.GGMLQuantizationType.F32
        if value.ndim == 2 and theirs not in ("position_embd.weight", "token_types.weight"):
            kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(theirs, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
