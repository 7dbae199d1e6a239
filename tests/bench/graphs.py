#!/usr/bin/env python3
"""Compares general graphs with ONNX Runtime, model by model. Run by scripts/bench.sh inference.

Voice activity and PP-OCR's three networks in f32, and its classifier, a network of the MobileNet type, in int8 as ONNX
Runtime's static quantization writes it (DequantizeLinear and QuantizeLinear around each operator, weights per channel),
once after its own folding of batch normalisation, as its documentation asks for, and once without. Sentence embedding is
MiniLM by scripts/make_bert_onnx.py, run as any graph is, in f32 and in int8 as ONNX Runtime's dynamic quantization writes it.
Both sides run on one thread, call by call in turn; a figure is the least of its rounds. "On the processor" counts only
time that the process was given, for machines shared with others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

COMMAND = "scripts/bench.sh inference"
CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
INT8_BAR = 1.3
OPENING_BAR_MS = 5


def numbers(shape, shift=0):
    """As bench_graphs.cc makes them."""
    return (((np.arange(np.prod(shape)) + shift) * 7919 % 1000) / 500 - 1).astype(np.float32).reshape(shape)


class Images(CalibrationDataReader):
    def __init__(self, name, shape):
        self.left = iter([{name: numbers(shape, shift)} for shift in range(16)])

    def get_next(self):
        return next(self.left, None)


def quantize(path, shape, cache, file="classifier-int8.onnx"):
    target = os.path.join(cache, file)
    if not os.path.exists(target):
        name = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0].name
        os.makedirs(cache, exist_ok=True)
        quantize_static(path, target + ".part", Images(name, shape), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        os.rename(target + ".part", target)
    return target


def fold(path, cache):
    """At operator set 13, which has a scale per channel, with normalisation taken into the weights."""
    target = os.path.join(cache, "classifier-folded.onnx")
    if not os.path.exists(target):
        os.makedirs(cache, exist_ok=True)
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), 13), target + ".13")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = target + ".part"
        onnxruntime.InferenceSession(target + ".13", options, providers=["CPUExecutionProvider"])
        os.remove(target + ".13")
        os.rename(target + ".part", target)
    return target


def transformer(model, cache):
    """MiniLM in f32 and in int8."""
    target = os.path.join(cache, "minilm.onnx")
    script = os.path.join(os.path.dirname(__file__), "../../scripts/make_bert_onnx.py")
    if not os.path.exists(target):
        os.makedirs(cache, exist_ok=True)
        subprocess.run([sys.executable, script, model, target + ".part"], check=True)
        os.rename(target + ".part", target)
    quantized = os.path.join(cache, "minilm-int8.onnx")
    if not os.path.exists(quantized):
        quantize_dynamic(target, quantized + ".part", weight_type=QuantType.QInt8)
        os.rename(quantized + ".part", quantized)
    return target, quantized


def tokens(name, shape):
    """As bench_graphs.cc makes them."""
    if name == "input_ids":
        return (np.arange(np.prod(shape), dtype=np.int64) * 7919 % 1000).reshape(shape)
    return np.full(shape, 1 if name == "attention_mask" else 0, np.int64)


class Ours:
    def __init__(self, executable, path, shape):
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen([executable, path, self.folder.name, *map(str, shape)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline().split()
        if not reply:
            sys.exit("inference bench: bench_graphs ended early")
        return [float(part) for part in reply]

    def run(self):
        clock, processor = self.ask("run")
        return clock * 1e-9, processor * 1e-9


class Peer:
    def __init__(self, path, shape):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        start = time.perf_counter()
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.load_seconds = time.perf_counter() - start
        self.feed = {}
        for value in self.session.get_inputs():
            if value.name == "state":
                self.feed[value.name] = np.zeros((2, 1, 128), np.float32)
            elif value.type == "tensor(int64)" and value.shape:
                self.feed[value.name] = tokens(value.name, shape)
            elif value.type == "tensor(int64)":
                self.feed[value.name] = np.array(16000, np.int64)
            else:
                self.feed[value.name] = numbers(shape)

    def run(self):
        clock, processor = time.perf_counter(), time.process_time()
        self.output = self.session.run(None, self.feed)[0]
        return time.perf_counter() - clock, time.process_time() - processor


def compare(arguments, name, path, shape, bar):
    ours, peer = Ours(arguments.ours, path, shape), Peer(path, shape)
    peer.run()
    found = np.array(ours.ask("values")[2:])
    difference = float(np.abs(found - peer.output.ravel()).max())
    best = {side: [np.inf, np.inf] for side in ("ours", "peer")}
    for _ in range(arguments.rounds):
        for side, runner in (("ours", ours), ("peer", peer)):
            best[side] = [min(kept, new) for kept, new in zip(best[side], runner.run())]
    rows = []
    for index, suffix in enumerate(("", ", on the processor")):
        mine, theirs = best["ours"][index] * 1e3, best["peer"][index] * 1e3
        wanted = bar if index == 0 else None
        row = {"metric": name + suffix, "unit": "ms", "better": "lower", "ours": mine, "peer": theirs,
               "peer_name": "ONNX Runtime", "ratio": theirs / mine, "bar": wanted,
               "met": None if wanted is None else bool(theirs / mine >= wanted), "command": COMMAND}
        if wanted is None:
            row["why"] = "no bar is set"
        rows.append(row)
    print(f"{name:<34}{best['ours'][0] * 1e3:>9.3f}{best['peer'][0] * 1e3:>9.3f}  ms"
          f"{rows[0]['ratio']:>7.2f}x{rows[1]['ratio']:>7.2f}x  {'' if bar is None else f'{bar:.1f}':<5}{difference:>10.2g}")
    return rows + [opening(name, path, shape, ours)]


def opening(name, path, shape, ours):
    reports = [ours.ask("open") for _ in range(20)]
    mine, copied = min(report[0] for report in reports) * 1e-6, reports[0][2]
    theirs = min(Peer(path, shape).load_seconds for _ in range(3)) * 1e3
    print(f"{'  opening it packed':<34}{mine:>9.3f}{theirs:>9.3f}  ms{theirs / mine:>7.2f}x{'':>8}  ≤{OPENING_BAR_MS:<4}"
          f" {reports[0][1] / 1e6:.1f} MB mapped, {copied / 1e3:.0f} kB copied")
    return {"metric": name + ", opening it packed", "unit": "ms", "better": "lower", "ours": mine, "peer": theirs,
            "peer_name": "ONNX Runtime", "ratio": theirs / mine, "bar": OPENING_BAR_MS, "bar_of": "most",
            "met": bool(mine <= OPENING_BAR_MS), "command": COMMAND}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ours", "silero", "ppocr", "minilm", "cache"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models whose name has one of these in it")
    parser.add_argument("--json", help="rows are added to those that the file holds")
    arguments, _ = parser.parse_known_args()
    classifier = os.path.join(arguments.ppocr, CLASSIFIER)
    line = (1, 3, 48, 192)
    models = [
        ("voice activity, 32 ms", os.path.join(arguments.silero, "silero_vad.onnx"), (1, 576), None),
        ("text direction", classifier, line, None),
        ("text direction, int8", quantize(fold(classifier, arguments.cache), line, arguments.cache,
                                          "classifier-folded-int8.onnx"), line, INT8_BAR),
        ("text direction, int8, unfolded", quantize(classifier, line, arguments.cache), line, INT8_BAR),
        ("text detection, 320 x 320", os.path.join(arguments.ppocr, "ch_PP-OCRv4_det_infer.onnx"), (1, 3, 320, 320),
         None),
        ("text recognition, 48 x 320", os.path.join(arguments.ppocr, "ch_PP-OCRv4_rec_infer.onnx"), (1, 3, 48, 320),
         None),
    ]
    floats, codes = transformer(arguments.minilm, arguments.cache)
    for batch, length in ((1, 16), (1, 128), (8, 64)):
        models.append((f"sentences, {batch} x {length}", floats, (batch, length), None))
        models.append((f"sentences, {batch} x {length}, int8", codes, (batch, length), None))
    print(f"general graphs, one thread, least of {arguments.rounds} interleaved rounds")
    print(f"{'model':<34}{'ours':>9}{'peer':>9}    {'ratio':>8}{'on cpu':>8}  {'bar':<5}{'difference':>10}")
    rows = []
    for model in models:
        if arguments.only is None or any(part in model[0] for part in arguments.only):
            rows += compare(arguments, *model)
    if arguments.json:
        held = []
        if os.path.exists(arguments.json):
            with open(arguments.json, encoding="utf-8") as file:
                held = json.load(file)
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(held + rows, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
