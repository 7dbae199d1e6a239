#!/usr/bin/env python3
"""Makes an autoencoder of heart beats, ecg.onnx, and the beats that it scores, beats.jsonl.

    scripts/make_ecg_model.py SCIPY_MISC_FOLDER TARGET_FOLDER      run by scripts/fetch.sh ecg, with the oracle's Python

The record is five minutes of lead MLII of record 208 of the MIT-BIH Arrhythmia Database at 360 Hz, as SciPy 1.9 carries it. Beats
are cut at their R peaks and scaled to mean 0 and variance 1. The network (64, 24, 6, 24, 64 with tanh) learns from
beats that come in time; its output is the mean squared error of what it rebuilds: high for shapes that it has not learnt.
Each beat says how early it came, which the network is not told: premature beats of the ventricle have another shape.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE = 360
WIDTH = 64
SIZES = (WIDTH, 24, 6, 24, WIDTH)


def beats_of(record):
    """R peaks: the greatest slopes' neighbourhood, at least 0.25 s apart; windows of 0.53 s at every third sample."""
    smooth = np.convolve(record, np.ones(5) / 5, "same")
    energy = np.convolve(np.gradient(smooth) ** 2, np.ones(36) / 36, "same")
    threshold = 0.3 * np.quantile(energy, 0.98)
    peaks, at = [], 0
    while at < len(record):
        if energy[at] > threshold:
            window = energy[at:at + RATE // 4]
            middle = at + int(window.argmax())
            # Where the lead is farthest from its baseline.
            near = slice(max(0, middle - 30), middle + 30)
            base = np.median(record[max(0, middle - RATE):middle + RATE])
            peak = near.start + int(np.abs(smooth[near] - base).argmax())
            peaks.append(peak)
            at = max(peak, middle) + RATE // 4
        else:
            at += 1
    half = WIDTH * 3 // 2
    beats, early = [], []
    intervals = np.diff(peaks)
    for i in range(8, len(peaks) - 1):
        if peaks[i] - half < 0 or peaks[i] + half > len(record):
            continue
        beat = record[peaks[i] - half:peaks[i] + half:3]
        beats.append((beat - beat.mean()) / beat.std())
        early.append(intervals[i - 1] / np.median(intervals[max(0, i - 9):i + 8]))
    return np.array(beats), np.array(early)


def train(beats, random):
    """Adam on the mean squared error."""
    layers = [(random.normal(0, 1 / np.sqrt(a), (a, b)), np.zeros(b)) for a, b in zip(SIZES, SIZES[1:])]
    parameters = [p for layer in layers for p in layer]
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    for step in range(1, 3001):
        x = beats[random.integers(0, len(beats), 64)]
        values = [x]
        for k in range(4):
            y = values[-1] @ parameters[2 * k] + parameters[2 * k + 1]
            values.append(np.tanh(y) if k < 3 else y)
        slope = 2 * (values[-1] - x) / x.size
        for k in reversed(range(4)):
            if k < 3:
                slope = slope * (1 - values[k + 1] ** 2)
            gradients = (values[k].T @ slope, slope.sum(0))
            slope = slope @ parameters[2 * k].T
            for index, gradient in zip((2 * k, 2 * k + 1), gradients):
                first[index] = 0.9 * first[index] + 0.1 * gradient
                second[index] = 0.999 * second[index] + 0.001 * gradient ** 2
                scale = np.sqrt(second[index] / (1 - 0.999 ** step)) + 1e-8
                parameters[index] -= 2e-3 * first[index] / (1 - 0.9 ** step) / scale
    return parameters


def save(parameters, path):
    constants = [numpy_helper.from_array(p.astype(np.float32), f"p{i}") for i, p in enumerate(parameters)]
    nodes, value = [], "beat"
    for k in range(4):
        nodes.append(helper.make_node("Gemm", [value, f"p{2 * k}", f"p{2 * k + 1}"], [f"h{k}"]))
        value = f"h{k}"
        if k < 3:
            nodes.append(helper.make_node("Tanh", [value], [f"t{k}"]))
            value = f"t{k}"
    nodes += [helper.make_node("Sub", [value, "beat"], ["gap"]), helper.make_node("Mul", ["gap", "gap"], ["square"]),
              helper.make_node("ReduceMean", ["square"], ["score"], axes=[1], keepdims=1)]
    graph = helper.make_graph(nodes, "ecg", [helper.make_tensor_value_info("beat", TensorProto.FLOAT, ["n", WIDTH])],
                              [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def main():
    source, target = sys.argv[1:3]
    with np.load(os.path.join(source, "ecg.dat")) as file:
        record = (file["ecg"].astype(int) - 1024) / 200.0
    beats, early = beats_of(record)
    in_time = np.flatnonzero((early > 0.9) & (early < 1.1))
    save(train(beats[in_time[: len(in_time) // 2]], np.random.default_rng(20261126)), os.path.join(target, "ecg.onnx"))
    learnt = set(in_time[: len(in_time) // 2].tolist())
    with open(os.path.join(target, "beats.jsonl"), "w", encoding="utf-8") as file:
        for i, beat in enumerate(beats):
            if i in learnt:
                continue
            fields = {f"s{k}": round(float(v), 4) for k, v in enumerate(beat)}
            file.write(json.dumps({"beat": i, "early": round(float(early[i]), 3), **fields}) + "\n")
    print(f"{len(beats)} beats, {len(learnt)} learnt from, {(early < 0.85).sum()} early")


if __name__ == "__main__":
    main()
