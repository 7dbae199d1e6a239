#!/usr/bin/env python3
"""Writes bert_tiny/: a BERT of random weights, two layers of hidden size 8, as safetensors and as ONNX by
scripts/make_bert_onnx.py at operator sets 13 and 17. Needs numpy, onnx and safetensors."""
import json
import pathlib
import subprocess
import sys

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
HIDDEN, INNER, LAYERS, VOCABULARY, POSITIONS = 8, 16, 2, 24, 12


def main():
    random = np.random.default_rng(7)
    tensors = {}

    def linear(name, out, inner):
        tensors[f"{name}.weight"] = random.normal(0, 0.3, (out, inner)).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, out).astype(np.float32)

    def norm(name):
        tensors[f"{name}.weight"] = random.normal(1, 0.1, HIDDEN).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, HIDDEN).astype(np.float32)

    for name, rows in (("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)):
        tensors[f"embeddings.{name}_embeddings.weight"] = random.normal(0, 0.5, (rows, HIDDEN)).astype(np.float32)
    tensors["embeddings.position_ids"] = np.arange(POSITIONS, dtype=np.int64)[None]
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{prefix}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{prefix}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{prefix}.attention.output.LayerNorm")
        linear(f"{prefix}.intermediate.dense", INNER, HIDDEN)
        linear(f"{prefix}.output.dense", HIDDEN, INNER)
        norm(f"{prefix}.output.LayerNorm")
    folder = HERE / "bert_tiny"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {"model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
              "num_attention_heads": 2, "intermediate_size": INNER, "vocab_size": VOCABULARY,
              "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
              "_name_or_path": "foreshore/bert-tiny"}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the pump is over ##heat ##ing hot cold a b c d e ##s ##ed . , ! ?".split()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    for opset in (13, 17):
        script = HERE.parents[1] / "scripts" / "make_bert_onnx.py"
        output = folder / f"opset{opset}.onnx"
        subprocess.run([sys.executable, script, folder, output, "--opset", str(opset)], check=True)


if __name__ == "__main__":
    main()
