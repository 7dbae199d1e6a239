"""What bench "inference" compares: our executor, ONNX Runtime in all of its int8 forms, llama.cpp.

A side is asked by embed(sequences) and gives seconds by the clock, seconds on the processor, and the embeddings.
"""
import itertools
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic


class Lines:
    """A process that answers a line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline().split()
        if not reply:
            sys.exit(f"inference bench: {os.path.basename(self.process.args[0])} ended early")
        return reply

    def tokenize(self, text):
        return [int(token) for token in self.ask("tokenize " + " ".join(text.split()))]

    def embed(self, sequences):
        reply = self.ask("embed " + " | ".join(" ".join(map(str, ids)) for ids in sequences))
        values = np.array(reply[2:], dtype=np.float64)
        return int(reply[0]) * 1e-9, int(reply[1]) * 1e-9, values.reshape(len(sequences), -1)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OnnxRuntime:
    """Pads a batch to its longest sequence, as it must."""

    def __init__(self, path, thread_count=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        started = time.perf_counter()
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.load_seconds = time.perf_counter() - started
        self.names = {value.name for value in self.session.get_inputs()}

    def embed(self, sequences):
        shape = (len(sequences), max(map(len, sequences)))
        ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: value for name, value in feed.items() if name in self.names}
        started, processor_started = time.perf_counter(), time.process_time()
        hidden = self.session.run(None, feed)[0]
        processor_seconds = time.process_time() - processor_started
        seconds = time.perf_counter() - started
        if hidden.ndim == 2:  # A file that pools.
            mean = hidden.astype(np.float64)
        else:
            mean = (hidden.astype(np.float64) * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        return seconds, processor_seconds, mean / np.linalg.norm(mean, axis=1, keepdims=True)


def make_onnx_models(model, cache, ready_made):
    """Paths of the f32 oracle and of the int8 forms by name."""
    os.makedirs(cache, exist_ok=True)
    oracle = os.path.join(cache, "bert.onnx")
    script = os.path.join(os.path.dirname(__file__), "../../scripts/make_bert_onnx.py")
    forms = {"ready-made": ready_made}
    if not os.path.exists(oracle):
        subprocess.run([sys.executable, script, model, oracle + ".part"], check=True)
        os.rename(oracle + ".part", oracle)
    for per_channel, reduce_range, weights in itertools.product((False, True), (False, True), ("s8", "u8")):
        name = f"{'per-channel' if per_channel else 'per-tensor'} {7 if reduce_range else 8}-bit {weights}"
        path = os.path.join(cache, name.replace(" ", "-") + ".onnx")
        if not os.path.exists(path):
            quantize_dynamic(oracle, path + ".part", per_channel=per_channel, reduce_range=reduce_range,
                             weight_type=QuantType.QInt8 if weights == "s8" else QuantType.QUInt8)
            os.rename(path + ".part", path)
        forms[name] = path
    return oracle, forms


def fastest(sides, sequences, run_count):
    """Name of the side with the least time for these sequences."""
    def least(side):
        return min(side.embed(sequences)[0] for _ in range(run_count))
    return min(sides, key=lambda name: least(sides[name]))


def interleave(sides, calls, round_count):
    """Per side: each call's least seconds by the clock and on the processor, and its embeddings; sides take turns."""
    count = len(calls)
    results = {name: (np.full(count, np.inf), np.full(count, np.inf), [None] * count) for name in sides}
    for round_index in range(round_count):
        for index, call in enumerate(calls):
            for name, side in sides.items():
                seconds, processor_seconds, embeddings = side.embed(call)
                clock, processor, kept = results[name]
                clock[index] = min(clock[index], seconds)
                processor[index] = min(processor[index], processor_seconds)
                kept[index] = embeddings
            if sys.stderr.isatty():
                print(f"\r{round_index * count + index + 1}/{count * round_count}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return results


def fidelity(found, expected):
    """Mean and least cosine, and the mean share of each text's ten nearest that stay among its ten nearest."""
    cosines = (found * expected).sum(axis=1)

    def nearest(vectors):
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        return np.argpartition(-similarity, 10, axis=1)[:, :10]

    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest(found), nearest(expected))])
    return cosines.mean(), cosines.min(), overlap
