#!/usr/bin/env python3
"""Writes tests/golden/graph_models/*.f32: what ONNX Runtime makes of real models on inputs that both sides compute.

Run by the oracle's Python (scripts/fetch.sh oracle silero ppocr onnx-model), from the repository's root:

    $(scripts/fetch.sh path oracle) tests/golden/make_graph_models.py

A file holds little-endian float32: every step-th element of each output of each call, one after the other. The calls
are those of tests/engine/inference/graph/real_models_test.cc.
"""

import subprocess
from pathlib import Path

import numpy as np
import onnxruntime

OUT = Path("tests/golden/graph_models")


def path_of(item):
    return Path(subprocess.run(["scripts/fetch.sh", "path", item], check=True, capture_output=True, text=True)
                .stdout.strip())


def numbers(count, seed, scale):
    """Uniform in [-scale, scale), from Knuth's linear congruential generator for 64 bits."""
    values = np.empty(count, np.float32)
    state = seed
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values[i] = np.float32((state >> 40) / 2.0**23 - 1.0) * np.float32(scale)
    return values


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def voice(name, rate, width, calls=3):
    """Three windows of sound, the state carried from one to the next."""
    model = session(path_of("silero") / name)
    names = {value.name for value in model.get_inputs()}
    state = np.zeros((2, 1, 128), np.float32)
    kept = []
    for call in range(calls):
        inputs = {"input": numbers(width, 100 + call, 0.3).reshape(1, width), "state": state}
        if "sr" in names:
            inputs["sr"] = np.array(rate, np.int64)
        output, state = model.run(None, inputs)
        kept += [output.ravel(), state.ravel()]
    return np.concatenate(kept)


def letters(shape):
    """A light page with a line of dark strokes, which the detector takes for text."""
    y, x = np.mgrid[0:shape[2], 0:shape[3]]
    strokes = (x % 16 < 4) | ((y // 4 % 4 == 0) & (x % 16 < 12))
    page = np.where((y >= 32) & (y < 64) & (x >= 16) & (x < 144) & strokes, -1.0, 1.0).astype(np.float32)
    return np.broadcast_to(page, shape).copy()


def image(name, shape, step, x=None):
    model = session(path_of("ppocr") / name)
    if x is None:
        x = numbers(int(np.prod(shape)), 7, 1.0).reshape(shape)
    (output,) = model.run(None, {model.get_inputs()[0].name: x})
    return output.ravel()[::step]


def transformer():
    """Two sequences of tokens, of which the second one is padded."""
    words = np.array([[101, 1996, 10216, 2003, 2058, 20821, 2075, 102], [101, 3435, 2482, 102, 0, 0, 0, 0]], np.int64)
    model = session(path_of("onnx-model") / "model.onnx")
    inputs = {"input_ids": words, "attention_mask": (words != 0).astype(np.int64),
              "token_type_ids": np.zeros_like(words)}
    output = model.run(None, {value.name: inputs[value.name] for value in model.get_inputs()})[0]
    return output[words != 0].ravel()[::5]


def main():
    OUT.mkdir(exist_ok=True)
    golden = {
        "silero_16k": voice("silero_vad.onnx", 16000, 576),
        "silero_8k": voice("silero_vad.onnx", 8000, 288),
        "silero_op15": voice("silero_vad_16k_op15.onnx", 16000, 576),
        "silero_op18": voice("silero_vad_op18_ifless.onnx", 16000, 576),
        "ppocr_classifier": image("ch_ppocr_mobile_v2.0_cls_infer.onnx", (2, 3, 48, 192), 1),
        "ppocr_detector": image("ch_PP-OCRv4_det_infer.onnx", (1, 3, 96, 160), 7, letters((1, 3, 96, 160))),
        "ppocr_recogniser": image("ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 96), 61),
        "minilm": transformer(),
    }
    for name, values in golden.items():
        (OUT / f"{name}.f32").write_bytes(values.astype("<f4").tobytes())
        print(name, values.size, float(np.abs(values).max()))


if __name__ == "__main__":
    main()
