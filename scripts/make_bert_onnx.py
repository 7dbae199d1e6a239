#!/usr/bin/env python3
"""Writes a BERT of safetensors as an fp32 ONNX graph: the oracle's side of comparisons, and test files.

    make_bert_onnx.py MODEL_DIR OUTPUT.onnx [--opset 13|17]

MODEL_DIR holds config.json and model.safetensors. Opset 17 has LayerNormalization nodes; opset 13 spells them out as
older exporters did. Inputs: input_ids, attention_mask, token_type_ids, int64 [batch, sequence]. Output:
last_hidden_state, float [batch, sequence, hidden]. Needs the PyPI packages numpy, onnx and safetensors.
"""
import argparse
import json
import math
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Builder:
    """Collects nodes and initializers; every method returns the name of the value it makes."""

    def __init__(self, tensors, config, opset):
        self.tensors, self.config, self.opset = tensors, config, opset
        self.nodes, self.initializers, self.known, self.count = [], [], set(), 0

    def node(self, op, *inputs, **attributes):
        self.count += 1
        name = f"{op.lower()}_{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, value, dtype, name=None):
        name = name or f"constant_{len(self.initializers)}"
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def weight(self, name, transpose=False):
        value = self.tensors[name].astype(np.float32)
        return self.constant(value.T.copy() if transpose else value, np.float32, name)

    def ints(self, *values):
        return self.constant(values, np.int64)

    def linear(self, x, name):
        product = self.node("MatMul", x, self.weight(f"{name}.weight", transpose=True))
        return self.node("Add", self.weight(f"{name}.bias"), product)

    def norm(self, x, name):
        gamma, beta = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        epsilon = self.config["layer_norm_eps"]
        if self.opset >= 17:
            return self.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=epsilon)
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        square = self.node("Pow", centred, self.constant(2.0, np.float32))
        variance = self.node("ReduceMean", square, axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, self.constant(epsilon, np.float32)))
        return self.node("Add", self.node("Mul", self.node("Div", centred, root), gamma), beta)

    def gelu(self, x):
        erf = self.node("Erf", self.node("Div", x, self.constant(math.sqrt(2), np.float32)))
        gate = self.node("Add", erf, self.constant(1.0, np.float32))
        return self.node("Mul", self.node("Mul", x, gate), self.constant(0.5, np.float32))

    def heads(self, x, permutation):
        count = self.config["num_attention_heads"]
        size = self.config["hidden_size"] // count
        return self.node("Transpose", self.node("Reshape", x, self.ints(0, 0, count, size)), perm=permutation)

    def layer(self, x, mask, index):
        prefix = f"encoder.layer.{index}"
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        query = self.heads(self.linear(x, f"{prefix}.attention.self.query"), [0, 2, 1, 3])
        key = self.heads(self.linear(x, f"{prefix}.attention.self.key"), [0, 2, 3, 1])
        value = self.heads(self.linear(x, f"{prefix}.attention.self.value"), [0, 2, 1, 3])
        scores = self.node("Div", self.node("MatMul", query, key), self.constant(math.sqrt(size), np.float32))
        probabilities = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        context = self.node("Transpose", self.node("MatMul", probabilities, value), perm=[0, 2, 1, 3])
        context = self.node("Reshape", context, self.ints(0, 0, self.config["hidden_size"]))
        dense = self.linear(context, f"{prefix}.attention.output.dense")
        x = self.norm(self.node("Add", dense, x), f"{prefix}.attention.output.LayerNorm")
        up = self.gelu(self.linear(x, f"{prefix}.intermediate.dense"))
        down = self.linear(up, f"{prefix}.output.dense")
        return self.norm(self.node("Add", down, x), f"{prefix}.output.LayerNorm")

    def mask(self):
        spread = self.node("Unsqueeze", "attention_mask", self.ints(1, 2))
        padding = self.node("Sub", self.constant(1.0, np.float32), self.node("Cast", spread, to=TensorProto.FLOAT))
        return self.node("Mul", padding, self.constant(np.finfo(np.float32).min, np.float32))

    def embeddings(self):
        shape = self.node("Shape", "input_ids")
        length = self.node("Gather", shape, self.constant(1, np.int64), axis=0)
        positions = self.node("Range", self.constant(0, np.int64), length, self.constant(1, np.int64))
        words = self.node("Gather", self.weight("embeddings.word_embeddings.weight"), "input_ids")
        types = self.node("Gather", self.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
        places = self.node("Gather", self.weight("embeddings.position_embeddings.weight"), positions)
        return self.norm(self.node("Add", self.node("Add", words, types), places), "embeddings.LayerNorm")

    def model(self):
        mask, x = self.mask(), self.embeddings()
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, mask, index)
        self.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"], name="node_output"))
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
                  for name in ("input_ids", "attention_mask", "token_type_ids")]
        outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT,
                                                 ["batch", "sequence", self.config["hidden_size"]])]
        graph = helper.make_graph(self.nodes, "bert", inputs, outputs, self.initializers)
        return helper.make_model(graph, producer_name="foreshore", ir_version=8,
                                 opset_imports=[helper.make_opsetid("", self.opset)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--opset", type=int, choices=(13, 17), default=17)
    arguments = parser.parse_args()
    config = json.loads((arguments.model_dir / "config.json").read_text())
    tensors = load_file(arguments.model_dir / "model.safetensors")
    tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
    model = Builder(tensors, config, arguments.opset).model()
    onnx.checker.check_model(model)
    onnx.save(model, arguments.output)


if __name__ == "__main__":
    main()
