#!/usr/bin/env python3
"""Makes a small network of the MobileNet type for MNIST's digits: digits.onnx.

    scripts/make_digit_cnn.py MNIST_FOLDER TARGET_FOLDER      run by scripts/fetch.sh digit-cnn, with the oracle's Python

Inverted residuals with depthwise convolutions, batch normalisation, HardSwish and a residual sum. What is trained is its last
layer, by ridge regression over 20,000 images; the convolutions before it are random with a fixed seed (a random feature
network), normalised to what they give on the images. It stands for the arithmetic of such networks, not for the best
that they reach.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TRAINING_COUNT = 20_000
SIDE = 28


def read_fvecs(path, count):
    rows = np.fromfile(path, np.int32, count * (SIDE * SIDE + 1)).reshape(-1, SIDE * SIDE + 1)
    return rows[:, 1:].copy().view(np.float32)


class Network:
    def __init__(self):
        self.random = np.random.default_rng(20261126)
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, op, inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def model(self, output, width):
        graph = helper.make_graph(
            self.nodes, "digits", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width])], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def run(self, output, images):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # The output's declared rank is a guess.
        graph = self.model(output, None)
        session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        parts = np.array_split(images, max(1, len(images) // 500))
        return np.concatenate([session.run([output], {"x": part})[0] for part in parts])

    def convolve(self, x, images, channels_out, channels_in, kernel, stride, groups=1):
        """A random convolution, and normalisation by what it gives on the images."""
        shape = (channels_out, channels_in // groups, kernel, kernel)
        weights = self.random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        y = self.node("Conv", [x, self.constant(weights)], group=groups, strides=[stride] * 2, pads=[kernel // 2] * 4)
        found = self.run(y, images)
        return self.node("BatchNormalization", [
            y, self.constant(np.ones(channels_out)), self.constant(np.zeros(channels_out)),
            self.constant(found.mean((0, 2, 3))), self.constant(found.var((0, 2, 3)) + 1e-3)])

    def hard_swish(self, x):
        return self.node("Mul", [x, self.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)])


def main():
    source, target = sys.argv[1:3]
    images = read_fvecs(os.path.join(source, "base.fvecs"), TRAINING_COUNT)
    images = (images / images.max()).reshape(-1, 1, SIDE, SIDE)
    labels = np.fromfile(os.path.join(source, "base.labels"), np.uint8, TRAINING_COUNT)
    few = images[:500]
    net = Network()
    stem = net.hard_swish(net.convolve("x", few, 16, 1, 5, 2))
    wide = net.hard_swish(net.convolve(stem, few, 64, 16, 1, 1))
    deep = net.node("Relu", [net.convolve(wide, few, 64, 64, 3, 1, 64)])
    total = net.node("Add", [stem, net.convolve(deep, few, 16, 64, 1, 1)])
    wide = net.hard_swish(net.convolve(total, few, 96, 16, 1, 1))
    small = net.hard_swish(net.convolve(wide, few, 96, 96, 3, 2, 96))
    flat = net.node("Flatten", [net.hard_swish(net.convolve(small, few, 48, 96, 1, 1))])
    features = net.run(flat, images).astype(np.float64)
    features = np.hstack([features, np.ones((len(features), 1))])
    wanted = np.eye(10)[labels] * 2 - 1
    gram = features.T @ features + 30.0 * np.eye(features.shape[1])
    solved = np.linalg.solve(gram, features.T @ wanted)
    scores = net.node("Gemm", [flat, net.constant(solved[:-1]), net.constant(solved[-1])])
    onnx.save(net.model(scores, 10), os.path.join(target, "digits.onnx"))
    queries = read_fvecs(os.path.join(source, "query.fvecs"), 1_000)
    found = net.run(scores, (queries / queries.max()).reshape(-1, 1, SIDE, SIDE)).argmax(1)
    print(f"right on {(found == np.fromfile(os.path.join(source, 'query.labels'), np.uint8)).mean():.3f} of 1,000 others")


if __name__ == "__main__":
    main()
